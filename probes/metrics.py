"""Metrics with their uncertainty: tie-aware AUROC, recall at a fixed false-positive rate, calibration, permutation."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from lens.errors import DataError
from lens.intervals import group_counts, percentiles, wilson


def auroc(labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, "n *m"]) -> Float[np.ndarray, "*m"]:  # noqa: F821
    """Area under the ROC curve, ties counted half, for each column of scores.

    AUROC = (R₁ − n₁(n₁ + 1)/2) / (n₁ n₀),     R₁ = sum of the midranks of class 1
    """
    ranks = stats.rankdata(scores, axis=0)
    positive = labels == 1
    n1, n0 = int(positive.sum()), int((~positive).sum())
    return np.asarray((ranks[positive].sum(axis=0) - n1 * (n1 + 1) / 2) / (n1 * n0))


def auroc_interval(
    labels: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> tuple[float, float]:
    """Cluster-bootstrap percentile interval of the AUROC (with `strata`, of `auroc_within`): groups are resampled.

    Below 20 groups it is too narrow; callers warn. Resamples with one class are left out.
    """
    weights = group_counts(groups, draws, seed)
    won, pairs = np.zeros(draws), np.zeros(draws)
    parts = [np.arange(len(labels))] if strata is None else [np.flatnonzero(strata == one) for one in np.unique(strata)]
    for rows in parts:
        order = rows[np.argsort(scores[rows], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
        high = np.add.reduceat(weights[:, order] * (labels[order] == 1), starts, axis=1)
        low = np.add.reduceat(weights[:, order] * (labels[order] == 0), starts, axis=1)
        won += (high * (np.cumsum(low, axis=1) - low / 2)).sum(axis=1)
        pairs += high.sum(axis=1) * low.sum(axis=1)
    valid = pairs > 0
    return percentiles(won[valid] / pairs[valid], level)


def auroc_within(labels: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"], strata: np.ndarray) -> float:
    """AUROC over pairs of rows of the same stratum: what tells strata apart counts for nothing.

    Σₛ n₁ₛ n₀ₛ AUROCₛ / Σₛ n₁ₛ n₀ₛ,     s over strata with both labels; nan where there is none
    """
    won = pairs = 0.0
    for stratum in np.unique(strata):
        rows = strata == stratum
        size = float((labels[rows] == 1).sum() * (labels[rows] == 0).sum())
        if size:
            won += size * float(auroc(labels[rows], scores[rows]))
            pairs += size
    return won / pairs if pairs else float("nan")


def recall_at_fpr(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], control: Float[np.ndarray, " k"], fpr: float
) -> tuple[float, float, float]:
    """Recall at the threshold that at most a share `fpr` of the *control* scores pass, with its Wilson interval."""
    hits = scores[labels == 1] > threshold_at_fpr(control, fpr)
    return float(hits.mean()), *wilson(int(hits.sum()), len(hits))


def threshold_at_fpr(control: Float[np.ndarray, " k"], fpr: float) -> float:
    """The lowest control score that at most a share `fpr` of the control scores exceed."""
    allowed = int(np.floor(fpr * len(control) + 1e-9))
    return float(np.sort(control)[-(allowed + 1)])


def brier(labels: Int[np.ndarray, " n"], probability: Float[np.ndarray, " n"]) -> float:
    """Mean squared error of probabilities (Brier, 1950)."""
    return float(np.mean((probability - labels) ** 2))


def calibration_error(labels: Int[np.ndarray, " n"], probability: Float[np.ndarray, " n"], *, bins: int = 10) -> float:
    """Expected calibration error: mean gap of rate and probability over bins of equal size (Naeini et al., 2015).

    It is above 0 for a perfectly calibrated probe of finite n; see `calibrated_errors`.
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(labels[part].mean() - probability[part].mean()) for part in parts) / len(labels))


def calibrated_errors(
    probability: Float[np.ndarray, " n"], *, draws: int = 200, bins: int = 10, seed: int = 0
) -> Float[np.ndarray, " draws"]:
    """Calibration errors that these probabilities would have were they exact: labels drawn from them (Bröcker & Smith,
    2007). Their mean is what to expect of a perfectly calibrated probe."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random((draws, len(probability))) < probability).astype(int)
    return np.array([calibration_error(labels, probability, bins=bins) for labels in drawn])


def permute_labels(labels: Int[np.ndarray, " n"], groups: np.ndarray, seed: int) -> Int[np.ndarray, " n"]:
    """Labels shuffled as the groups allow: within groups that hold both classes, and, among groups of one
    class, from group to group."""
    rng = np.random.default_rng(seed)
    _, member = np.unique(groups.astype(str), return_inverse=True)
    rows = [np.flatnonzero(member == g) for g in range(int(member.max()) + 1)]
    pure = [r for r in rows if len(set(labels[r])) == 1]
    out = labels.copy()
    for r, source in zip(pure, rng.permutation(len(pure)), strict=True):
        out[r] = labels[pure[source][0]]
    for r in rows:
        if len(set(labels[r])) > 1:
            out[r] = labels[rng.permutation(r)]
    return out


def p_value(null: Float[np.ndarray, " m"], observed: float) -> float:
    """One-sided permutation p-value (b + 1) / (m + 1) (Phipson & Smyth, 2010)."""
    return float((np.sum(null >= observed - 1e-12) + 1) / (len(null) + 1))


def adjust(p: Float[np.ndarray, " m"], method: Literal["holm", "bh"] = "holm") -> Float[np.ndarray, " m"]:
    """P-values adjusted for their number, in the order given; nan stays and is not counted.

    holm: max_{j ≤ i} (m − j + 1) p₍ⱼ₎, the chance of *any* false discovery (Holm, 1979).
    bh: min_{j ≥ i} m p₍ⱼ₎ / j, the share of false ones among the discoveries (Benjamini & Hochberg, 1995).
    """
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    m, rank = len(order), np.arange(1, len(order) + 1)
    if method == "holm":
        stepped = np.maximum.accumulate((m - rank + 1) * p[order])
    elif method == "bh":
        stepped = np.minimum.accumulate((m / rank * p[order])[::-1])[::-1]
    else:
        raise DataError(f"Unknown adjustment {method!r}; available: holm, bh.")
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(stepped, 1.0)
    return out
