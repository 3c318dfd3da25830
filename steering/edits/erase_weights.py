"""Erase in weights: an eraser folded into the matrix that writes at its site."""

from dataclasses import dataclass

from lens.errors import ArtifactError, SiteError
from lens.model import Model
from probes.erasure import Eraser
from steering.edits.add_bias import plain_writer
from steering.edits.change import Change, Plan, named
from steering.edits.delta import Delta, projection
from steering.edits.running import same_as
from steering.edits.writers import Part
from steering.interventions import Erase

WRITES: dict[str, Part] = {"attn_out": "attention", "mlp_out": "MLP"}


@dataclass(frozen=True, eq=False)
class EraseWeights(Change):
    """What an eraser of `probes.erase` takes out at `attn_out.l` or `mlp_out.l`, taken out of what writes there.

        y = W x + b,  r(y) = y − L Rᵀ (y − μ):      W ← W − L (Rᵀ W),   b ← b − L (Rᵀ b − Rᵀ μ)

    (a bias is added where there is none). The same as `Erase(eraser, span="all")`.

    Elsewhere no weights do it: what is at `resid_pre`, `resid_mid` and `resid_post` is carried on by the skip
    connection, which has no weights, and what reads it begins with a norm, whose divisor depends on what is to go.

    Source: Belrose et al., LEACE: Perfect Linear Concept Erasure in Closed Form (2023), for the map.
    """

    eraser: Eraser

    def __post_init__(self) -> None:
        if not isinstance(self.eraser, Eraser):
            raise ArtifactError(
                f"EraseWeights needs an Eraser (probes.erase makes one); given: {type(self.eraser).__name__}."
            )

    @property
    def name(self) -> str:
        eraser = self.eraser
        return named("erase", str(eraser.site), [eraser.removed, eraser.reading, eraser.mean])

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        self.eraser.check_model(model, other_model=other_model)

    def plan(self, model: Model) -> Plan:
        site = self.eraser.site
        along, reading = (part.double().T.contiguous() for part in (self.eraser.removed, self.eraser.reading))
        if site.kind not in WRITES:
            raise SiteError(
                f"No weights erase at {site}: the skip connection carries it on, and what reads it begins with a norm. "
                "Available: attn_out, mlp_out (fit the eraser there), or Erase as a hook."
            )
        if not self.eraser.rank:
            raise ArtifactError(f"{self.eraser!r}: there is nothing to write out of the weights.")
        found = plain_writer(model, site, WRITES[site.kind])
        level = reading @ self.eraser.mean.double()
        if found.bias is None:
            bias = Delta(f"{found.name}.bias", 0, along, -level)
        else:
            bias = projection(f"{found.name}.bias", found.bias, 0, along, reading, level)
        weight = projection(f"{found.name}.weight", found.weight, found.axis, along, reading)
        return Plan((weight, bias), check=same_as(model, Erase(self.eraser, span="all")))
