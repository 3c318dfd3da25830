"""Erase: an eraser at work while the model runs."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ArtifactError
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from probes.erasure import Eraser
from steering.interventions.base import DEFAULT_SPAN, Intervention, Sites, Strength
from steering.interventions.gate import Rule


@dataclass(frozen=True, eq=False)
class Erase(Intervention):
    """What an eraser of `probes.erase` (LEACE, mean projection, INLP) takes out, taken out as the model runs.

        h ← h + strength · (eraser(h) − h)

    At its own site unless told otherwise; elsewhere nothing is guaranteed, for an eraser knows the covariance of its
    own site alone.

    Source: Belrose et al., LEACE: Perfect Linear Concept Erasure in Closed Form (2023).
    """

    eraser: Eraser
    strength: Strength = 1.0
    span: str | Span = DEFAULT_SPAN
    sites: Sites = ()
    when: Rule | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.eraser, Eraser):
            raise ArtifactError(f"Erase needs an Eraser (probes.erase makes one); given: {type(self.eraser).__name__}.")
        super().__post_init__()

    @property
    def home(self) -> tuple[Site, ...]:
        return (self.eraser.site,)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.eraser.matrix, self.eraser.offset)

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        self.eraser.check_model(model, other_model=other_model)

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return self._toward(h, torch.as_tensor(self.eraser(h.float())))
