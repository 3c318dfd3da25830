"""Activation patching: what a site holds, replaced by what was read elsewhere."""

from dataclasses import dataclass, field, replace

from jaxtyping import Float, Int
from torch import Tensor

from lens.activations import Activations
from lens.errors import ArtifactError, SiteError, SpanError
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from probes.provenance import Provenance, provenance_of
from steering.interventions.base import Intervention, Sites, Strength
from steering.interventions.gate import Rule


@dataclass(frozen=True, eq=False)
class Patch(Intervention):
    """Activation patching (interchange): every token of the span takes the value that is given.

        h ← h + strength · (x − h)

    values: x, `[d_model]` for all rows, or `[rows, d_model]`, one per row. span: by default the last prompt token
    alone. sites: where it acts; what is read at one place is rarely at home at another, so there is no default.
    `Patch.of(acts, site)` takes what was collected from other texts, row by row; `Patch.mean(acts, site)` its mean
    over rows (mean-ablation of the whole site).

    Raises ArtifactError: values of another shape, or not finite. SiteError: no site.

    Source: Vig et al., Investigating Gender Bias in Language Models Using Causal Mediation Analysis (2020); Geiger et
    al., Causal Abstractions of Neural Networks (2021).
    """

    values: Float[Tensor, "*rows d"]
    strength: Strength = 1.0
    span: str | Span = "prompt[-1]"
    sites: Sites = ()
    when: Rule | None = field(default=None, kw_only=True)
    provenance: Provenance = field(default_factory=Provenance, kw_only=True)

    def __post_init__(self) -> None:
        values = self.values
        if values.ndim not in (1, 2) or not bool(values.isfinite().all()):
            raise ArtifactError(
                f"Patch takes finite values [d_model] or [rows, d_model]; given: shape {list(values.shape)}."
            )
        super().__post_init__()
        if not self.sites:
            raise SiteError("Patch needs sites=: where the values are put.")

    @classmethod
    def of(cls, acts: Activations, site: Site | str, **options: object) -> "Patch":
        """Row k takes what row k of these pooled activations held. Raises SiteError: unpooled, or not collected."""
        found = acts.site(site)
        if acts[found].ndim != 2:
            raise SiteError(f"Activations at {found} are unpooled; collect with a pool, or span='prompt[-1]'.")
        known = provenance_of(acts.source, len(acts), method="activations")
        return cls(acts[found], sites=(found,), provenance=known, **options)  # type: ignore[arg-type]

    @classmethod
    def mean(cls, acts: Activations, site: Site | str, **options: object) -> "Patch":
        """Every row takes the mean over these activations."""
        rows = cls.of(acts, site, **options)
        return replace(rows, values=rows.values.double().mean(dim=0).float())

    @property
    def home(self) -> tuple[Site, ...]:
        return tuple(Site.parse(site) for site in self.sites)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.values,)

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        self.provenance.check(
            "patch",
            self.values.shape[-1],
            fingerprint=model.fingerprint,
            width=model.d_model,
            name=model.name,
            other_model=other_model,
        )
        model.sites(list(self.sites))

    @property
    def differs_by_row(self) -> bool:
        return super().differs_by_row or self.values.ndim == 2

    def at_rows(self, rows: Int[Tensor, " batch"], total: int) -> "Intervention":
        chosen = super().at_rows(rows, total)
        if self.values.ndim == 1:
            return chosen
        if len(self.values) != total:
            raise SpanError(f"{len(self.values)} values were given for {total} rows; give one per row, or one for all.")
        return chosen._with(values=self.values[rows.to(self.values.device)])

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        values = self.values.to(h.device).float()
        wanted = values if values.ndim == 1 else values.reshape(len(values), *[1] * (h.ndim - 2), -1)
        return self._toward(h, wanted)
