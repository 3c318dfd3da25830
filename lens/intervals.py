"""Intervals: cluster bootstrap over groups, and Wilson for rates."""

import numpy as np
from jaxtyping import Float
from scipy import stats

# Below this many groups the percentile bootstrap is too narrow; callers warn.
FEW_GROUPS = 20


def group_counts(groups: np.ndarray, draws: int, seed: int) -> Float[np.ndarray, "draws n"]:
    """How often each row occurs in each resample of whole groups, drawn with replacement."""
    _, member = np.unique(groups.astype(str), return_inverse=True)
    size = int(member.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(size, np.full(size, 1 / size), size=draws)
    return counts[:, member].astype(float)


def mean_interval(
    values: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Cluster-bootstrap percentile interval of a mean; missing values (nan) are left out."""
    present = ~np.isnan(values)
    if not present.any():
        return float("nan"), float("nan")
    weights = group_counts(groups[present], draws, seed)
    return percentiles(weights @ values[present] / weights.sum(axis=1), level)


def percentiles(values: Float[np.ndarray, " draws"], level: float) -> tuple[float, float]:
    """Central percentile interval."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(hits: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a rate (Wilson, 1927); (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(hits, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)
