"""Monitoring: whether the state before the first word of the answer tells how much of the trait the answer shows.

    r = corr(v · h(last prompt token), score),     within: both less their mean in each condition

A high pooled r may say no more than that the conditions differ (two kinds of prompt): `within` leaves that out. The
null is the |r| of random directions with the covariance that the rows have within conditions; of pooled rows, its draws
would be copies of the direction.

Source: Chen et al., Persona Vectors (2025) for the pooled r; the within-condition figure and the null after later
replications of it.
"""

import math

import numpy as np
from jaxtyping import Float

from lens.intervals import group_counts, percentiles
from probes.metrics import p_value


def monitored(
    projection: Float[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    conditions: np.ndarray,
    groups: np.ndarray,
    null: Float[np.ndarray, "n draws"],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """r and r within conditions, each with its cluster-bootstrap interval over groups, the 95th percentile of |r| of
    the null's projections, and p = (1 + #{|r_null| ≥ |r|}) / (1 + draws). n, missing: rows with and without a score."""
    known = ~np.isnan(score)
    if not known.any():
        names = [f"{prefix}{name}" for prefix in ("", "within_") for name in ("r", "low", "high", "null_95", "p")]
        return {"n": 0, "missing": len(score), **dict.fromkeys(names, math.nan)}
    x, y, names, member = projection[known], score[known], conditions[known].astype(str), groups[known]
    found: dict[str, float] = {"n": int(known.sum()), "missing": int((~known).sum())}
    random = null[known]
    for prefix, within in (("", False), ("within_", True)):
        a, b, others = (_centred(one, names) if within else one for one in (x, y, random))
        r = float(correlations(a[:, None], b)[0])
        low, high = _interval(a, b, member, seed)
        draws = np.abs(correlations(others, b))
        found |= {f"{prefix}r": r, f"{prefix}low": low, f"{prefix}high": high}
        found |= {f"{prefix}null_95": float(np.quantile(draws, 0.95)), f"{prefix}p": p_value(draws, abs(r))}
    return found


def correlations(x: Float[np.ndarray, "n m"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """Pearson's r of each column with y; 0 where either does not vary."""
    x, y = x - x.mean(axis=0), y - y.mean()
    sizes = np.linalg.norm(x, axis=0) * np.linalg.norm(y)
    return (y @ x) / np.where(sizes > 1e-9, sizes, np.inf)


def _centred(values: Float[np.ndarray, "n *m"], conditions: np.ndarray) -> Float[np.ndarray, "n *m"]:  # noqa: F821
    out = np.array(values, dtype=float)
    for name in np.unique(conditions):
        here = conditions == name
        out[here] -= out[here].mean(axis=0)
    return out


def _interval(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], groups: np.ndarray, seed: int
) -> tuple[float, float]:
    weights = group_counts(groups, 1000, seed)
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    cross = weights @ (x * y) / total - mean_x * mean_y
    spread = np.clip(weights @ x**2 / total - mean_x**2, 0, None) * np.clip(weights @ y**2 / total - mean_y**2, 0, None)
    return percentiles(cross / np.where(spread > 1e-18, np.sqrt(spread), np.inf), 0.95)
