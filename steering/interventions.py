"""Interventions: pure functions on the residual stream, with their sites, token span and strength.

Each is a frozen object; calling it on `h[..., d_model]` gives the changed `h` and touches nothing else.
`steering.apply` puts it into a model.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import ArtifactError, SpanError
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from probes.direction import Direction

Unit = Literal["norm", "difference", "raw"]
DEFAULT_SPAN = "prompt[-1]:"


@dataclass(frozen=True, eq=False)
class Intervention(ABC):
    """A change along one direction.

    strength: a number, or one per row (`[rows]`). span: tokens it acts on, by default from the last prompt token
    through everything generated. sites: where it acts, by default where the direction was read.
    """

    direction: Direction
    strength: float | Sequence[float] | np.ndarray | Tensor = 1.0
    span: str | Span = DEFAULT_SPAN
    sites: tuple[Site, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.direction, Direction):
            raise ArtifactError(
                f"{type(self).__name__} needs a Direction; given: {type(self.direction).__name__} "
                "(a fitted probe has one: probe.direction)."
            )
        object.__setattr__(self, "span", Span.parse(self.span))
        if not isinstance(self.strength, int | float):
            strength = torch.as_tensor(self.strength, dtype=torch.float32)
            if strength.ndim > 1:
                raise SpanError(f"A strength is a number or one per row; given: shape {list(strength.shape)}.")
            object.__setattr__(self, "strength", strength if strength.ndim else float(strength))

    @property
    def identifier(self) -> str:
        """A short content hash of what it does, after the name of its kind."""
        digest = hashlib.sha256(repr(replace(self, strength=0.0)).encode())
        digest.update(self.direction.vector.contiguous().numpy().tobytes())
        digest.update(torch.as_tensor(self.strength, dtype=torch.float64).contiguous().numpy().tobytes())
        return f"{type(self).__name__}:{digest.hexdigest()[:8]}"

    def places(self, model: Model) -> list[Site]:
        """Where it acts in this model. Raises SiteError where the model has no such site."""
        return model.sites(self.sites or (self.direction.site,))

    def at_rows(self, rows: Int[Tensor, " batch"], total: int) -> "Intervention":
        """The same with the strengths of these rows, of `total`, only. Raises SpanError: not one strength per row."""
        if isinstance(self.strength, Tensor):
            if len(self.strength) != total:
                raise SpanError(f"{len(self.strength)} strengths were given for {total} rows; give one per row.")
            return replace(self, strength=self.strength.to(rows.device)[rows])
        return self

    def _amount(self, h: Tensor) -> "float | Tensor":
        """The strength, shaped to multiply `h`."""
        if isinstance(self.strength, Tensor):
            return self.strength.to(h.device, torch.float32).reshape(-1, *[1] * (h.ndim - 1))
        assert isinstance(self.strength, int | float)
        return self.strength

    @abstractmethod
    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """The changed residual stream, in the dtype it came in."""


@dataclass(frozen=True, eq=False)
class Add(Intervention):
    """Activation addition.

        h ← h + strength · unit · v

    unit: `norm`, the mean residual norm where the direction was fitted (the default); `difference`, the norm of
    the difference of class means; `raw`, 1. Adding strength a and then −a restores h up to rounding.

    Raises ArtifactError where the direction does not know the unit (one made from a bare vector).

    Source: Turner et al., Activation Addition (2023); Rimsky et al., Contrastive Activation Addition (2023).
    """

    unit: Unit = "norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._unit_length() > 0:
            raise ArtifactError(
                f"This direction does not know its unit {self.unit!r}; use unit='raw', or give residual_norm= or "
                "difference= to Direction.from_vector."
            )

    def _unit_length(self) -> float:
        lengths = {"norm": self.direction.residual_norm, "difference": self.direction.difference, "raw": 1.0}
        if self.unit not in lengths:
            raise ArtifactError(f"Unknown unit {self.unit!r}; available: norm, difference, raw.")
        return lengths[self.unit]

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        step = self.direction.vector.to(h.device) * self._unit_length()
        return h + (self._amount(h) * step).to(h.dtype)


@dataclass(frozen=True, eq=False)
class Ablate(Intervention):
    """Directional ablation.

        h ← h − strength · (v · h − target) · v

    to: `neutral` (the default) sets the coordinate to its mean midway between the classes (mean-ablation);
    `zero` removes it; a number sets it to that. Zero is wrong for a direction whose mean is not zero: it then
    pushes the stream to one side. strength 1 ablates fully, and doing it twice changes nothing more.

    Raises ArtifactError: neutral is unknown, or asked for at another site than the direction's own.

    Source: Arditi et al., Refusal in Language Models Is Mediated by a Single Direction (2024).
    """

    to: Literal["neutral", "zero"] | float = "neutral"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to == "neutral":
            if self.direction.neutral != self.direction.neutral:
                raise ArtifactError("This direction does not know its neutral value; use to='zero' or to=NUMBER.")
            if self.sites and any(site != self.direction.site for site in self.sites):
                raise ArtifactError(
                    f"The neutral value is known at {self.direction.site} only; use to='zero' or to=NUMBER elsewhere."
                )
        elif not (self.to == "zero" or isinstance(self.to, int | float)):
            raise ArtifactError(f"Ablate to {self.to!r}? Available: 'neutral', 'zero', or a number.")

    def _target(self) -> float:
        if self.to == "neutral":
            return self.direction.neutral
        return 0.0 if self.to == "zero" else float(self.to)

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        vector = self.direction.vector.to(h.device)
        excess = (h.float() @ vector - self._target())[..., None]
        return (h.float() - self._amount(h) * excess * vector).to(h.dtype)


def writers(model: Model) -> tuple[Site, ...]:
    """Every place that writes to the residual stream: embeddings (`resid_pre.0`), each attention and each MLP."""
    sites: list[Any] = ["resid_pre.0", "attn_out", "mlp_out"]
    return tuple(model.sites(sites))
