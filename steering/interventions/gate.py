"""Gates: whether an intervention acts on a row at all, read off the row's own prompt as it passes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.activations import Activations
from lens.collect import collect
from lens.errors import ArtifactError, DataError, SpanError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.spans import Span
from probes.direction import Direction
from probes.metrics import threshold_at_fpr

Pool = Literal["mean", "max", "last"]
POOLS: tuple[Pool, ...] = ("mean", "max", "last")


class Rule(ABC):
    """Something that holds for a row or does not: a `Gate`, or gates joined by `&`, `|` and `~`."""

    @property
    @abstractmethod
    def gates(self) -> "tuple[Gate, ...]":
        """The gates it is made of."""

    @abstractmethod
    def decide(self, open_: "Mapping[Gate, Bool[Tensor, ' batch']]") -> Bool[Tensor, " batch"]:
        """For which rows it holds, from what each of its gates says of them."""

    def __and__(self, other: "Rule") -> "Rule":
        return _Joined("&", torch.logical_and, (self, other))

    def __or__(self, other: "Rule") -> "Rule":
        return _Joined("|", torch.logical_or, (self, other))

    def __invert__(self) -> "Rule":
        return _Joined("~", torch.logical_not, (self,))

    def opens(self, model: Model, examples: Examples | Sequence[Prompt]) -> Bool[np.ndarray, " n"]:
        """For which prompts it holds in a model as it now is; the share of true rows is the gate's rate.

        Raises as `lens.collect`, and ArtifactError for a direction of another model.
        """
        table = examples if isinstance(examples, Examples) else Examples.from_texts(list(examples))
        read: dict[Gate, Tensor] = {}
        for gate in self.gates:
            gate.direction.check_model(model)
            acts = collect(model, table, sites=[gate.direction.site], span=str(gate.span), pool="none", progress=False)
            assert acts.mask is not None
            read[gate] = gate.open(gate.direction.score(acts[gate.direction.site]), acts.mask)
        return self.decide(read).numpy()


@dataclass(frozen=True, eq=False)
class Gate(Rule):
    """Open for the rows whose prompt a direction scores above a threshold.

        open  ⇔  pool over the span's tokens of (norm · v · hₜ + bias)  >  above

    The prompt is read where the direction was fitted, as it passes, with whatever already acts on it; the decision
    then holds for all that is generated from it. `above=0` is midway between the classes of most probes; `calibrate`
    finds the threshold that few control prompts pass.

        steering.Add(refusal, 1.0, when=harmful & ~joking)

    span: tokens of the prompt. pool: mean (the default), max or last.

    Raises ArtifactError: no Direction, or one without a threshold. SpanError: a span that reads the response.

    Source: Lee et al., Programming Refusal with Conditional Activation Steering (2024), which thresholds the cosine
    of h and its projection; here it is a probe's score, whose threshold is known.
    """

    direction: Direction
    above: float = 0.0
    span: str | Span = "prompt"
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        if not isinstance(self.direction, Direction):
            raise ArtifactError(
                f"Gate needs a Direction; given: {type(self.direction).__name__} "
                "(a fitted probe has one: probe.direction)."
            )
        if not (np.isfinite(self.direction.bias) and np.isfinite(self.above)):
            raise ArtifactError(
                f"A gate needs a threshold; the direction's bias is {self.direction.bias}, above={self.above}. "
                ".recentred(acts) finds the bias from labelled activations."
            )
        if self.pool not in POOLS:
            raise SpanError(f"Unknown pool {self.pool!r}; available: {available(POOLS)}.")
        object.__setattr__(self, "span", Span.parse(self.span))
        if self.parsed.reads_response or self.parsed.columns:
            raise SpanError(f"A gate decides before anything is answered; {str(self.span)!r} is not in the prompt.")

    @classmethod
    def calibrate(cls, direction: Direction, control: Activations, *, fpr: float = 0.05) -> "Gate":
        """The gate that at most a share `fpr` of control prompts open: pooled activations of rows that should be left
        alone, whose span and pool it takes over.

        Raises DataError: an fpr outside 0 to 1, fewer than 1 / fpr rows. As `Direction.score_activations`.
        """
        if not 0 < fpr < 1:
            raise DataError(f"fpr={fpr}: a false-positive rate lies between 0 and 1.")
        if len(control) * fpr < 1:
            raise DataError(f"{len(control)} rows cannot set a false-positive rate of {fpr}; give 1/fpr or more.")
        if control.source.pool == "max" or control.mask is not None:
            raise DataError(f"Pool {control.source.pool!r}: give control activations with pool 'mean' or 'last'.")
        scores = direction.score_activations(control).numpy()
        return cls(direction, threshold_at_fpr(scores, fpr), control.source.span, control.source.pool)  # type: ignore[arg-type]

    @property
    def parsed(self) -> Span:
        return Span.parse(self.span)

    @property
    def gates(self) -> "tuple[Gate, ...]":
        return (self,)

    def decide(self, open_: "Mapping[Gate, Bool[Tensor, ' batch']]") -> Bool[Tensor, " batch"]:
        return open_[self]

    def open(self, scores: Float[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        """Which rows are open, from scores of their tokens. Raises SpanError where a row has no token in the span."""
        count = mask.sum(dim=1)
        if not bool(count.all()):
            raise SpanError(f"Span {str(self.span)!r} of a gate selects no token of row {int(count.argmin())}.")
        if self.pool == "mean":
            pooled = scores.where(mask, 0.0).sum(dim=1) / count
        elif self.pool == "max":
            pooled = scores.where(mask, -torch.inf).amax(dim=1)
        else:
            place = torch.arange(mask.shape[1], device=mask.device)
            last = place.where(mask, torch.tensor(-1, device=mask.device)).amax(dim=1)
            pooled = scores.gather(1, last[:, None])[:, 0]
        return pooled > self.above


@dataclass(frozen=True, eq=False)
class _Joined(Rule):
    sign: str
    join: Callable[..., Tensor]
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise ArtifactError(f"{self.sign} joins gates; given: {type(rule).__name__}.")

    def __repr__(self) -> str:
        return f"~{self.rules[0]!r}" if len(self.rules) == 1 else f"({self.rules[0]!r} {self.sign} {self.rules[1]!r})"

    @property
    def gates(self) -> tuple[Gate, ...]:
        return tuple(dict.fromkeys(gate for rule in self.rules for gate in rule.gates))

    def decide(self, open_: "Mapping[Gate, Bool[Tensor, ' batch']]") -> Bool[Tensor, " batch"]:
        return self.join(*(rule.decide(open_) for rule in self.rules))
