"""Contrast: the difference that a label makes to values, with what is held constant."""

import numpy as np
from jaxtyping import Float, Int

from lens.intervals import group_counts, percentiles


def contrast(
    values: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    strata: np.ndarray,
    weights: Float[np.ndarray, " n"] | None = None,
) -> float:
    """Mean of values at label 1 less that at 0, within strata: Σ_s w_s (m_1s − m_0s) / Σ_s w_s, w_s = n_1s n_0s / n_s;
    nan where no stratum has both."""
    weights = np.ones(len(values)) if weights is None else weights
    total = size = 0.0
    for one in np.unique(strata):
        here = strata == one
        high, low = weights * (here & (labels == 1)), weights * (here & (labels == 0))
        if high.sum() and low.sum():
            share = high.sum() * low.sum() / (high.sum() + low.sum())
            total += share * (values @ high / high.sum() - values @ low / low.sum())
            size += share
    return float(total / size) if size else float("nan")


def between(
    values: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], strata: np.ndarray, units: np.ndarray, *, seed: int
) -> tuple[float, float]:
    """The contrast's cluster-bootstrap 95 % interval over units."""
    drawn = np.array([contrast(values, labels, strata, weights) for weights in group_counts(units, 1000, seed)])
    return percentiles(drawn[np.isfinite(drawn)], 0.95)
