"""Comparing: who predicts whom better, by how much, and whether that is more than one model's being the better reader.

    gap(A)       = acc(A reads A) − max(acc(B reads A), acc(text reads A), acc(mode))
    capability   = ½ [acc(A reads A) + acc(A reads B)] − ½ [acc(B reads A) + acc(B reads B)]
    corrected    = acc(A reads A) − acc(B reads A) − capability
                 = ½ [acc(A reads A) − acc(B reads A)] + ½ [acc(B reads B) − acc(A reads B)]

The correction takes off how much better A's activations tell *any* answer than B's do; what is left is the same for
both models. p of a gap is the largest of the one-sided sign-flip p-values against each of what is in the max, over
whole groups: the gap is real only if none of them does as well (an intersection-union test).

Source: Binder et al., Looking Inward (2024), for predicting in both directions; Berger, Multiparameter Hypothesis
Testing and Acceptance Sampling (1982), for the test.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from lens.intervals import group_counts, mean_interval, percentiles
from steering.studies.result import Claim

DRAWS, FLIPS = 1000, 4000
MODELS = ("A", "B")
OTHER = {"A": "B", "B": "A"}
MODE = "mode"
Right = Mapping[str, Bool[np.ndarray, " n"]]
Crossed = Mapping[tuple[str, str], Bool[np.ndarray, " n"]]


@dataclass(frozen=True)
class Gap:
    """value: accuracy less that of the best of what it is held against, `best`; its interval and p-value."""

    value: float
    low: float
    high: float
    p: float
    best: str
    headroom: float


def gap(own: Bool[np.ndarray, " n"], against: Right, groups: np.ndarray, seed: int) -> Gap:
    """How much more often `own` is right than the best of the others is; in each resample, the best of that resample.
    headroom: value / (1 − accuracy of the best), the share of what the best leaves to be told; nan where it leaves
    nothing."""
    names = list(against)
    hits = np.stack([own, *(against[name] for name in names)]).astype(float)
    weights = group_counts(groups, DRAWS, seed)
    drawn = weights @ hits.T / weights.sum(axis=1, keepdims=True)
    low, high = percentiles(drawn[:, 0] - drawn[:, 1:].max(axis=1), 0.95)
    accuracy = hits.mean(axis=1)
    best = int(accuracy[1:].argmax())
    value = float(accuracy[0] - accuracy[1 + best])
    p = float(above(hits[:1] - hits[1:], groups, seed).max())
    left = 1 - accuracy[1 + best]
    return Gap(value, low, high, p, names[best], value / left if left > 0 else float("nan"))


def above(changes: Float[np.ndarray, "m n"], groups: np.ndarray, seed: int) -> Float[np.ndarray, " m"]:
    """One-sided p-values of several paired differences whose means are above 0: signs of whole groups are flipped.

        p = (1 + #{T* ≥ T}) / (1 + flips),     T = Σ_i d_i,     T* = Σ_g s_g Σ_{i ∈ g} d_i,     s_g = ±1 at random

    1 where nothing differs. See `steering.paired.sign_flip` for both sides.
    """
    _, member = np.unique(groups.astype(str), return_inverse=True)
    sums = np.stack([np.bincount(member, weights=one) for one in changes])
    signs = np.random.default_rng(seed).integers(0, 2, size=(FLIPS, sums.shape[1])) * 2.0 - 1.0
    null, observed = signs @ sums.T, sums.sum(axis=1)
    # Sums of the same numbers may differ in their last digits.
    return (1 + (null >= observed - 1e-9).sum(axis=0)) / (1 + FLIPS)


def corrected(right: Crossed, groups: np.ndarray, seed: int) -> dict[str, float]:
    """What each model tells better of itself than the other does, less what it tells better of any: the mean of both
    directions. right[reader, target]."""
    hits = {pair: one.astype(float) for pair, one in right.items()}
    each = (hits["A", "A"] - hits["B", "A"] + hits["B", "B"] - hits["A", "B"]) / 2
    capable = (hits["A", "A"] + hits["A", "B"] - hits["B", "A"] - hits["B", "B"]) / 2
    low, high = mean_interval(each, groups, draws=DRAWS, seed=seed)
    able = mean_interval(capable, groups, draws=DRAWS, seed=seed)
    return {
        "corrected": float(each.mean()),
        "corrected_low": low,
        "corrected_high": high,
        "corrected_p": float(above(each[None], groups, seed)[0]),
        "capability": float(capable.mean()),
        "capability_low": able[0],
        "capability_high": able[1],
    }


def by_mode(codes: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Rows whose value is the commonest of all: the best that one answer for all can do."""
    return codes == np.bincount(codes).argmax()


def claims(
    activations: Crossed,
    plain: Mapping[str, Right],
    spoken: Right,
    groups: np.ndarray,
    seed: int,
) -> tuple[list[Claim], pd.DataFrame]:
    """The claims, and the table of gaps behind them.

    activations[reader, target], plain[target] (text and mode) and spoken[model]: where each is right. A claim of better
    self-prediction is gated on the corrected gap: it has to lie above 0, too.
    """
    n, count = len(groups), len(set(groups.astype(str)))
    fair = corrected(activations, groups, seed)
    made, rows = [], []
    for target in MODELS:
        other = OTHER[target]
        against = {f"{other}'s activations": activations[other, target], **plain[target]}
        found = gap(activations[target, target], against, groups, seed)
        reading = (
            f"The activations of {target} tell its own answers better than those of {other}, the text or the commonest "
            f"answer do, by more than {target} tells the answers of both better."
        )
        gate = found.value > 0 and fair["corrected_low"] > 0
        name = f"{target} predicts itself better than {other} does"
        made.append(Claim(name, found.value, found.low, found.high, 0.0, found.p, n, count, reading, gate))
        sign = 1 if target == "A" else -1
        rows.append({"target": target, "by": "activations", **vars(found), **fair})
        rows[-1] |= {"capability": sign * fair["capability"]}
        if sign < 0:
            rows[-1] |= {"capability_low": -fair["capability_high"], "capability_high": -fair["capability_low"]}
    for target, own in spoken.items():
        found = gap(own, plain[target], groups, seed)
        name = f"{target} says what it would answer"
        reading = (
            f"Asked what it would answer, {target} is right more often than the text or the commonest answer tells. "
            "That is no privileged access where it has learnt these very answers: ask about others."
        )
        gate = found.value > 0
        made.append(Claim(name, found.value, found.low, found.high, 0.0, found.p, n, count, reading, gate))
        rows.append({"target": target, "by": "spoken", **vars(found)})
    return made, pd.DataFrame(rows)


def accuracy(right: Bool[np.ndarray, " n"], groups: np.ndarray, seed: int) -> dict[str, float]:
    """Share of rows that are right, with its cluster-bootstrap 95 % interval over groups."""
    low, high = mean_interval(right.astype(float), groups, seed=seed)
    return {"accuracy": float(right.mean()), "low": low, "high": high}


def alike(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How alike two models answer: agreement, and Cohen's kappa, (agreement − chance)/(1 − chance), nan where chance
    alone is 1."""
    agreement = float((first == second).mean())
    chance = sum(float((first == one).mean() * (second == one).mean()) for one in {*first, *second})
    return {"agreement": agreement, "kappa": (agreement - chance) / (1 - chance) if chance < 1 else float("nan")}
