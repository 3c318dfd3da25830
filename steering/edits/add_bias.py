"""Add a bias: activation addition written into a writer's bias."""

import math
from dataclasses import dataclass

import torch

from lens.errors import ArtifactError, ModelError, SiteError
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from steering.edits.change import Change, Plan, named
from steering.edits.delta import Delta
from steering.edits.running import same_as
from steering.edits.writers import Part, Writer, family, writer
from steering.interventions import Add
from steering.interventions.base import Unit

WRITES: dict[str, Part] = {"attn_out": "attention", "mlp_out": "MLP", "resid_post": "MLP"}


@dataclass(frozen=True, eq=False)
class AddBias(Change):
    """A vector added to the stream at every token, as a bias of the writer that writes there.

        b ← b + strength · unit · v        (a bias is added where the writer has none)

    site: `attn_out.l`, `mlp_out.l`, or `resid_post.l`, which the MLP of block l writes; by default the direction's own.
    The same as `Add(direction, strength, unit=unit, span="all")` at that site. unit: as of `Add`.

    Raises ArtifactError as `Add`. SiteError: a site that no bias reaches.
    """

    direction: Direction
    strength: float = 1.0
    unit: Unit = "norm"
    site: Site | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.strength, int | float) or not math.isfinite(self.strength):
            raise ArtifactError(f"A bias is added with one finite strength; given: {self.strength!r}.")
        self._hook(self._place() if self.site else None)

    def _place(self) -> Site:
        return Site.parse(self.site) if self.site else self.direction.site

    def _hook(self, site: Site | None) -> Add:
        return Add(self.direction, self.strength, span="all", unit=self.unit, sites=(site,) if site else ())

    @property
    def name(self) -> str:
        settings = (self.strength, self.unit, str(self._place()))
        return named("bias", settings, [self._hook(None)(torch.zeros(len(self.direction.vector)))])

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        self.direction.check_model(model, other_model=other_model)
        model.sites(self._place())

    def plan(self, model: Model) -> Plan:
        site = self._place()
        if site.kind not in WRITES:
            raise SiteError(
                f"No bias reaches {site} exactly: available: attn_out, mlp_out and resid_post (use Add for the others)."
            )
        found = plain_writer(model, site, WRITES[site.kind])
        hook = self._hook(site)
        step = hook(torch.zeros(model.d_model)).double()
        delta = Delta(f"{found.name}.bias", 0, step[None], torch.tensor([-1.0]).double(), adds=True)
        return Plan((delta,), check=same_as(model, hook))


def plain_writer(model: Model, site: Site, part: Part) -> Writer:
    """The writer of one part at a site. Raises ModelError: a norm follows it."""
    found = writer(model, site.layer, part)
    if found.norm is not None:
        raise ModelError(
            f"{family(model)} normalises what {found.name} writes ({type(found.norm).__name__}), so no weights of it "
            f"do the same as an intervention at {site}; use that instead."
        )
    return found
