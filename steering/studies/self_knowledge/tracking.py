"""Tracking: whether a score goes with what is known, over groups, with its null.

    AUROC of `known` (rate above .5) by the score;     ρ, Spearman's rank correlation of score and rate

p: the rates are permuted over groups (within each group size, as whole groups), the score stays. A score that was
fitted on other groups owes nothing to these.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from lens.intervals import group_counts, percentiles
from probes.metrics import auroc, auroc_interval, p_value

PERMUTATIONS = 999
# Above a half by less than this, two answers are as probable as each other but for rounding.
ROUNDING = 1e-3


def tracked(
    score: Float[np.ndarray, " n"],
    known: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    draws: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """AUROC with its cluster-bootstrap interval over groups, ρ, and the one-sided permutation p of the AUROC."""
    labels = is_known(known)
    low, high = auroc_interval(labels, score, groups, seed=seed)
    found = float(auroc(labels, score))
    null = _won(labels[shuffles(groups, draws, seed)], stats.rankdata(score))
    return {
        "auroc": found,
        "low": low,
        "high": high,
        "rho": float(stats.spearmanr(score, known).statistic),
        "p": p_value(null, found),
    }


def _won(labels: Int[np.ndarray, "draws n"], ranks: Float[np.ndarray, " n"]) -> Float[np.ndarray, " draws"]:
    """AUROC of the same ranks for each row of labels: (R₁ − n₁(n₁ + 1)/2) / (n₁ n₀)."""
    positive = labels.sum(axis=1)
    return np.asarray((labels @ ranks - positive * (positive + 1) / 2) / (positive * (labels.shape[1] - positive)))


def permuted_within(
    labels: Int[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    strata: np.ndarray,
    groups: np.ndarray,
    *,
    draws: int = PERMUTATIONS,
    seed: int = 0,
) -> Float[np.ndarray, " draws"]:
    """AUROC over pairs of rows of the same stratum, for labels permuted over groups of the same stratum and size."""
    won, pairs = np.zeros(draws), 0
    for number, name in enumerate(np.unique(strata)):
        rows = np.flatnonzero(strata == name)
        mixed = int(labels[rows].sum()) * int((1 - labels[rows]).sum())
        if mixed:
            orders = shuffles(groups[rows], draws, seed + number)
            won += _won(labels[rows][orders], stats.rankdata(score[rows])) * mixed
            pairs += mixed
    return won / pairs


def shuffles(groups: np.ndarray, draws: int, seed: int) -> Int[np.ndarray, "draws n"]:
    """Orders [draws, n] of the rows that carry groups onto groups of the same size, row by row."""
    names, member, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    rows = [np.flatnonzero(member == number) for number in range(len(names))]
    rng = np.random.default_rng(seed)
    orders = np.tile(np.arange(len(groups)), (draws, 1))
    for size in np.unique(sizes):
        alike = np.stack([rows[number] for number in np.flatnonzero(sizes == size)])
        for order in orders:
            order[alike] = alike[rng.permutation(len(alike))]
    return orders


def both_kinds(known: Float[np.ndarray, " n"]) -> bool:
    """Whether some questions are known (rate above .5) and some are not."""
    return len(set(is_known(known).tolist())) == 2


def is_known(known: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """1 where the right answer has more than half of the probability."""
    return (known > 0.5 + ROUNDING).astype(int)


def swapped(
    one: Float[np.ndarray, " n"],
    other: Float[np.ndarray, " n"],
    known: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    draws: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, float]:
    """AUROC of one score less that of another, paired: interval by cluster bootstrap, p by swapping the two scores'
    ranks in whole groups (one-sided: the first is better)."""
    labels, both = is_known(known), np.stack([stats.rankdata(one), stats.rankdata(other)], axis=1)
    _, member = np.unique(groups.astype(str), return_inverse=True)
    flip = np.random.default_rng(seed).integers(0, 2, size=(draws, int(member.max()) + 1))[:, member] == 1
    first, second = both.T
    null = _gap(labels, np.where(flip, second, first).T, np.where(flip, first, second).T)
    found = float(_gap(labels, both[:, :1], both[:, 1:])[0])
    boots = []
    for weights in group_counts(groups, draws, seed):
        rows = np.repeat(np.arange(len(labels)), weights.astype(int))
        if 0 < labels[rows].sum() < len(rows):
            won = auroc(labels[rows], both[rows])
            boots.append(won[0] - won[1])
    low, high = percentiles(np.array(boots), 0.95)
    return {"difference": found, "low": low, "high": high, "p": p_value(null, found)}


def _gap(
    labels: Int[np.ndarray, " n"], one: Float[np.ndarray, "n m"], other: Float[np.ndarray, "n m"]
) -> Float[np.ndarray, " m"]:
    return np.asarray(auroc(labels, one) - auroc(labels, other))
