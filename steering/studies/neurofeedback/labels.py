"""Labels: scores on an axis as the small numbers that a model is shown.

    "median"    y = 1[a ≥ median of the scores], balanced
    "zero"      y = 1[a ≥ 0]: the boundary of `logistic`, the mean on the other axes
    k           k even levels 0 … k − 1: k/2 quantile levels below 0 and k/2 above

Source: Ji-An et al., metacognitive monitoring and control (2025).
"""

import numpy as np
from jaxtyping import Float, Int

from lens.errors import DataError

Threshold = str | int


def levels_of(threshold: Threshold) -> int:
    """How many labels there are. Raises DataError: neither median nor zero nor an even number of levels."""
    if threshold in ("median", "zero"):
        return 2
    if isinstance(threshold, int) and threshold >= 2 and threshold % 2 == 0:
        return threshold
    raise DataError(f"Unknown threshold {threshold!r}; available: median, zero, or an even number of levels.")


def cuts_of(scores: Float[np.ndarray, " n"], threshold: Threshold, *, name: str) -> Float[np.ndarray, " cuts"]:
    """Where labels change: label = how many cuts are at most the score. Raises DataError, naming the axis: a label that
    no sentence has."""
    half = levels_of(threshold) // 2
    if threshold == "median":
        cuts = np.array([np.median(scores)])
    else:
        sides = (scores[scores < 0], scores[scores >= 0])
        if any(len(side) < half for side in sides):
            raise DataError(
                f"Axis {name!r}: all labels would be of one kind at threshold {threshold!r}: {len(sides[0])} scores "
                f"lie below 0 and {len(sides[1])} above. Take threshold='median'."
            )
        shares = np.arange(1, half) / half
        cuts = np.r_[np.quantile(sides[0], shares), 0.0, np.quantile(sides[1], shares)]
    y = label_by(scores, cuts)
    missing = sorted(set(range(len(cuts) + 1)) - set(y.tolist()))
    if missing:
        raise DataError(
            f"Axis {name!r}: no sentence has label {missing[0]} at threshold {threshold!r}; scores lie from "
            f"{scores.min():.3g} to {scores.max():.3g}."
        )
    return cuts


def label_by(scores: Float[np.ndarray, "*n"], cuts: Float[np.ndarray, " cuts"]) -> Int[np.ndarray, "*n"]:
    """The label of each score."""
    return np.asarray(np.searchsorted(cuts, scores, side="right"), dtype=np.int64)
