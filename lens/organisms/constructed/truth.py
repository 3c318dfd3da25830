"""Truth: what was written into a constructed organism, as a record that JSON holds."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ModelError
from lens.organisms.constructed.llama import Norm

Role = Literal["positive", "negative", "confound"]
Where = Mapping[str, str | int]
# How far what is measured may lie from what is written: rounding alone, or the RMS norm's scale s as well.
RATE_TOLERANCE: dict[Norm, float] = {"none": 1e-5, "rms": 0.01}
TOLERANCE: dict[Norm, float] = {"none": 2e-5, "rms": 0.1}


@dataclass(frozen=True)
class Planted:
    """A direction at a site, read at `prompt[-1]`, with the column of the examples that tells its classes there.

    spread: difference of the class means along it (0: no text sets it). cosine: of the whole difference of class means
    with it, up to the context's noise (1: a difference of means recovers it). decodable: whether the classes can be
    told apart at the site at all, if only along something else.
    """

    name: str
    site: str
    vector: tuple[float, ...]
    column: str
    spread: float
    cosine: float
    decodable: bool

    @property
    def tensor(self) -> Float[Tensor, " d"]:
        return torch.tensor(self.vector)


@dataclass(frozen=True)
class Effect:
    """What adding `strength · v` (raw units) at the direction's site does at `prompt[-1]` of the rows `where`:

        logit(positive) − logit(negative) changes by gain · strength,     for strengths from low to high

    An option in braces is taken from that column of the row. `gain` 0: the direction is not causal there.
    """

    direction: str
    positive: str
    negative: str
    gain: float
    where: Where = field(default_factory=dict)
    low: float = -2.0
    high: float = 2.0


@dataclass(frozen=True)
class Behaviour:
    """P(positive) / (P(positive) + P(negative)) of the next token, the same for every row `where`."""

    name: str
    where: Where
    positive: str
    negative: str
    rate: float


@dataclass(frozen=True)
class Threshold:
    """A gate of the MLP of block `layer`: writes `clip((Σ weight · feature − threshold)/width, 0, 1)`."""

    layer: int
    reads: dict[str, float]
    writes: str
    threshold: float
    width: float


@dataclass(frozen=True)
class FalseClaim:
    """What must not be concluded, and what is the case."""

    claim: str
    truth: str


@dataclass(frozen=True)
class Truth:
    """All that is planted in one organism. Rates and gains are those of `norm="none"`. How near the weights come:
    rates within `rate_tolerance`; spreads, and logit changes by effects, within `tolerance` times their size (at least
    times 1). weights: a digest of all parameters. structure: what is neither direction nor behaviour (matrices, heads,
    gate rows), as JSON; the family's `verify` holds it against the weights."""

    name: str
    role: Role
    what: str
    seed: int
    norm: Norm
    tolerance: float
    rate_tolerance: float
    weights: str
    directions: tuple[Planted, ...]
    effects: tuple[Effect, ...]
    behaviours: tuple[Behaviour, ...]
    thresholds: tuple[Threshold, ...]
    false_claims: tuple[FalseClaim, ...]
    structure: Mapping[str, Any] = field(default_factory=dict)

    def direction(self, name: str) -> Planted:
        """A planted direction. Raises ModelError for an unknown name."""
        found = next((one for one in self.directions if one.name == name), None)
        if found is None:
            raise ModelError(f"No direction {name!r}; available: {', '.join(one.name for one in self.directions)}.")
        return found

    def gram(self) -> Float[Tensor, "k k"]:
        """Cosines between the planted directions, in their order."""
        stacked = torch.stack([one.tensor for one in self.directions])
        return stacked @ stacked.T

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Truth":
        """Read what `to_json` wrote. Raises ModelError where it is no truth record."""
        parts: dict[str, Any] = {
            "directions": Planted,
            "effects": Effect,
            "behaviours": Behaviour,
            "thresholds": Threshold,
            "false_claims": FalseClaim,
        }
        try:
            facts = json.loads(text)
            for one in facts["directions"]:
                one["vector"] = tuple(one["vector"])
            facts |= {name: tuple(part(**one) for one in facts[name]) for name, part in parts.items()}
            return cls(**facts)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"This is no truth record of a constructed organism: {error!r:.200}") from error


def rate(logit: float) -> float:
    """`1 / (1 + e^−logit)`."""
    return 1 / (1 + math.exp(-logit))
