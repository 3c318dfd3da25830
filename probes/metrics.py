"""Metrics with their uncertainty: tie-aware AUROC, recall at a fixed false-positive rate, calibration, permutation."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

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
) -> tuple[float, float]:
    """Cluster-bootstrap percentile interval of the AUROC: groups are resampled, not rows.

    Below 20 groups it is too narrow; callers warn. Resamples with one class are left out.
    """
    weights = group_counts(groups, draws, seed)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    high = np.add.reduceat(weights[:, order] * (labels[order] == 1), starts, axis=1)
    low = np.add.reduceat(weights[:, order] * (labels[order] == 0), starts, axis=1)
    below = np.cumsum(low, axis=1) - low / 2
    pairs = high.sum(axis=1) * low.sum(axis=1)
    valid = pairs > 0
    return percentiles((high * below).sum(axis=1)[valid] / pairs[valid], level)


def recall_at_fpr(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], control: Float[np.ndarray, " k"], fpr: float
) -> tuple[float, float, float]:
    """Recall at the threshold that at most a share `fpr` of the *control* scores pass, with its Wilson interval."""
    allowed = int(np.floor(fpr * len(control) + 1e-9))
    threshold = np.sort(control)[-(allowed + 1)]
    hits = scores[labels == 1] > threshold
    return float(hits.mean()), *wilson(int(hits.sum()), len(hits))


def brier(labels: Int[np.ndarray, " n"], probability: Float[np.ndarray, " n"]) -> float:
    """Mean squared error of probabilities (Brier, 1950)."""
    return float(np.mean((probability - labels) ** 2))


def calibration_error(labels: Int[np.ndarray, " n"], probability: Float[np.ndarray, " n"], *, bins: int = 10) -> float:
    """Expected calibration error: mean gap of rate and probability over bins of equal size (Naeini et al., 2015).

    It is above 0 for a perfectly calibrated probe of finite n.
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(labels[part].mean() - probability[part].mean()) for part in parts) / len(labels))


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
