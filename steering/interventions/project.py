"""Ablation: a coordinate, or those of a subspace, set to what they are without the behaviour, or to zero."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ArtifactError
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from probes.direction import Direction
from steering.interventions.base import DEFAULT_SPAN, Directional, Intervention, Sites, Strength, check_directions
from steering.interventions.gate import Rule

Target = Literal["neutral", "zero"] | float


@dataclass(frozen=True, eq=False)
class Ablate(Directional):
    """Directional ablation.

        h ← h − strength · (v · h − target) · v

    to: `neutral` (the default) sets the coordinate to its mean midway between the classes (mean-ablation);
    `zero` removes it; a number sets it to that. Zero is wrong for a direction whose mean is not zero: it then
    pushes the stream to one side. strength 1 ablates fully, and doing it twice changes nothing more; between 0 and 1
    it is graded.

    Raises ArtifactError: neutral is unknown, or asked for at another site than the direction's own.

    Source: Arditi et al., Refusal in Language Models Is Mediated by a Single Direction (2024).
    """

    to: Target = "neutral"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_target(self.to, [self.direction], self.sites)

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        vector = self.direction.vector.to(h.device)
        excess = (h.float() @ vector - _target(self.to, self.direction))[..., None]
        return (h.float() - self._amount(h) * excess * vector).to(h.dtype)


@dataclass(frozen=True, eq=False)
class AblateSubspace(Intervention):
    """Ablation of all that several directions span.

        h ← h − strength · V⁺ᵀ (V h − targets)        V [k, d]: the directions as rows, V⁺ its pseudo-inverse

    For directions at right angles this is one `Ablate` after the other; for others it is not: of two that overlap, the
    second would undo part of what the first has set. to: as for `Ablate`, each direction to its own value.

    Raises ArtifactError: none given, of several sites or widths, one that the others span.

    Source: the form of Arditi et al. (2024) for more than one dimension.
    """

    directions: tuple[Direction, ...]
    strength: Strength = 1.0
    span: str | Span = DEFAULT_SPAN
    sites: Sites = ()
    to: Target = "neutral"
    when: Rule | None = field(default=None, kw_only=True)
    _inverse: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directions", tuple(self.directions))
        if not self.directions:
            raise ArtifactError("AblateSubspace needs at least one Direction; none was given.")
        check_directions("AblateSubspace", self.directions)
        if len({(direction.site, len(direction.vector)) for direction in self.directions}) > 1:
            raise ArtifactError("The directions of a subspace are of one site and one width; these are of several.")
        super().__post_init__()
        _check_target(self.to, self.directions, self.sites)
        rows = self._rows()
        if int(torch.linalg.matrix_rank(rows)) < len(rows):
            raise ArtifactError(f"{len(rows)} directions span fewer dimensions; leave out one that the others span.")
        object.__setattr__(self, "_inverse", torch.linalg.pinv(rows).float())

    def _rows(self) -> Tensor:
        return torch.stack([direction.vector for direction in self.directions]).double()

    @property
    def home(self) -> tuple[Site, ...]:
        return (self.directions[0].site,)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self._rows(),)

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        for direction in self.directions:
            direction.check_model(model, other_model=other_model)

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        rows = self._rows().float().to(h.device)
        target = torch.tensor([_target(self.to, direction) for direction in self.directions], device=h.device)
        excess = h.float() @ rows.T - target
        return (h.float() - self._amount(h) * (excess @ self._inverse.to(h.device).T)).to(h.dtype)


def _check_target(to: Target, directions: "tuple[Direction, ...] | list[Direction]", sites: Sites) -> None:
    if to == "neutral":
        if any(direction.neutral != direction.neutral for direction in directions):
            raise ArtifactError("This direction does not know its neutral value; use to='zero' or to=NUMBER.")
        if any(site != directions[0].site for site in sites):
            raise ArtifactError(
                f"The neutral value is known at {directions[0].site} only; use to='zero' or to=NUMBER elsewhere."
            )
    elif not (to == "zero" or isinstance(to, int | float)):
        raise ArtifactError(f"Ablate to {to!r}? Available: 'neutral', 'zero', or a number.")


def _target(to: Target, direction: Direction) -> float:
    if to == "neutral":
        return direction.neutral
    return 0.0 if to == "zero" else float(to)
