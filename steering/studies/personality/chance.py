"""Chance: how far two sets of wordings lie apart, with an interval over wordings and items, and p of labels permuted.

    score of a wording   s_w = Σ_j b_j x_wj,     of a trait: b = ±1/(2n±), so that both keys have equal weight
    shift                T = mean of s over high wordings − over low ones
    p                    #{t* ≥ t}, t = T / standard error; t*: labels permuted over all conditions' wordings, each
                         less its condition's mean, in its standard deviations

Half of the sum over both keys is free of agreement with everything. Permuting over other conditions' wordings, too,
gives small samples a null; the standard error in the statistic makes up for their being more or less alike.

Source: Janssen, Studentized Permutation Tests (1997); Owen, The Pigeonhole Bootstrap (2007), for the interval.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from lens.intervals import percentiles
from probes.metrics import p_value

PERMUTATIONS, DRAWS = 1999, 1000
# Of the values' variance: below it, wordings differ by rounding alone.
ROUNDING = 1e-6


def permuted(
    values: Float[np.ndarray, " w"],
    labels: Int[np.ndarray, " w"],
    conditions: np.ndarray,
    *,
    draws: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """One-sided p that values of label 1 are higher than those of −1 (0: other wordings); nan with fewer than two."""
    here = ~np.isnan(values)
    values, labels, conditions = values[here], labels[here], conditions[here].astype(str)
    if (labels == 1).sum() < 2 or (labels == -1).sum() < 2:
        return float("nan")
    alike = standard(values, conditions)
    if np.ptp(alike) == 0:
        return 1.0
    rng = np.random.default_rng(seed)
    null = rng.permuted(np.tile(labels, (draws, 1)), axis=1)
    return p_value(_studentized(alike, null), float(_studentized(alike, labels[None])[0]))


def standard(values: Float[np.ndarray, " w"], conditions: np.ndarray) -> Float[np.ndarray, " w"]:
    """Values less their condition's mean, in units of its standard deviation."""
    _, member = np.unique(conditions.astype(str), return_inverse=True)
    count = np.bincount(member)
    centred = values - (np.bincount(member, weights=values) / count)[member]
    spread = np.sqrt(np.bincount(member, weights=centred**2) / count)[member]
    return np.where(spread > 0, centred / np.where(spread > 0, spread, 1.0), 0.0)


def _studentized(values: Float[np.ndarray, " w"], labels: Int[np.ndarray, "draws w"]) -> Float[np.ndarray, " draws"]:
    gap, variance = np.zeros(len(labels)), np.zeros(len(labels))
    for side in (1, -1):
        chosen = (labels == side).astype(float)
        n = chosen.sum(axis=1)
        mean = chosen @ values / n
        spread = np.maximum(chosen @ values**2 - n * mean**2, 0.0) / (n - 1)
        gap, variance = gap + side * mean, variance + spread / n
    return np.asarray(gap / np.sqrt(variance + ROUNDING * values.var()))


def balanced(keys: Int[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """Weights that give both keys the same: +1/(2n₊) and −1/(2n₋); of items of one key, ±1/n."""
    sides = [side for side in (1, -1) if (keys == side).any()]
    return sum(
        (np.where(keys == side, side / (len(sides) * (keys == side).sum()), 0.0) for side in sides), np.zeros(len(keys))
    )


def scored(values: Float[np.ndarray, "w items"], weights: Float[np.ndarray, " items"]) -> Float[np.ndarray, " w"]:
    """Weighted ratings of each wording; where items are missing, the others of their sign stand for them."""
    return resampled_scores(values, weights, np.ones((1, len(weights))))[0]


def resampled_scores(
    values: Float[np.ndarray, "w items"], weights: Float[np.ndarray, " items"], counts: Float[np.ndarray, "draws items"]
) -> Float[np.ndarray, "draws w"]:
    """The same for items that occur so often; nan where none of a sign is left."""
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    total = np.zeros((len(counts), len(values)))
    for side in (1, -1):
        mine = np.where(np.sign(weights) == side, weights, 0.0)
        if mine.any():
            share = (counts * mine) @ present.T.astype(float)
            with np.errstate(invalid="ignore", divide="ignore"):
                total = total + mine.sum() * ((counts * mine) @ filled.T) / share
    return total


def drawn(strata: np.ndarray, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draws n"]:
    """How often each occurs in resamples with replacement within each stratum."""
    counts = np.zeros((draws, len(strata)))
    for name in np.unique(strata):
        rows = np.flatnonzero(strata == name)
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=draws)
    return counts


def shift(
    scores: Float[np.ndarray, "draws w"], labels: Int[np.ndarray, " w"], counts: Float[np.ndarray, "draws w"]
) -> Float[np.ndarray, " draws"]:
    """Mean over high wordings less that over low ones, for wordings that occur so often."""
    out = np.zeros(len(scores))
    for side in (1, -1):
        weight = counts * (labels == side) * ~np.isnan(scores)
        with np.errstate(invalid="ignore", divide="ignore"):
            out = out + side * (weight * np.nan_to_num(scores)).sum(axis=1) / weight.sum(axis=1)
    return out


def bootstrapped(
    values: Float[np.ndarray, "w items"],
    weights: Float[np.ndarray, " items"],
    labels: Int[np.ndarray, " w"],
    units: np.ndarray | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Float[np.ndarray, " draws"]:
    """Shifts where wordings (of each side) and items (of each sign) are both drawn anew.

    units: items that belong together, of one sign, are drawn together (by default each by itself).
    """
    rng = np.random.default_rng(seed)
    alone = np.arange(len(weights)) if units is None else units
    _, first, member = np.unique(alone, return_index=True, return_inverse=True)
    wordings, together = drawn(labels, draws, rng), drawn(np.sign(weights)[first], draws, rng)
    items = together[:, member]
    return shift(resampled_scores(values, weights, items), labels, wordings)


def interval(draws: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """The central 95 %; nan where nothing is left."""
    kept = draws[~np.isnan(draws)]
    return percentiles(kept, 0.95) if len(kept) else (float("nan"), float("nan"))


def equivalent(values: Float[np.ndarray, " w"], labels: Int[np.ndarray, " w"], margin: float) -> float:
    """p of two one-sided tests: small where the shift of values of label 1 from those of −1 lies within ±margin.

    Source: Schuirmann (1987), with Welch's standard error and the degrees of freedom of the smaller side.
    """
    sides = [values[(labels == side) & ~np.isnan(values)] for side in (1, -1)]
    if min(map(len, sides)) < 2:
        return float("nan")
    gap = abs(float(sides[0].mean() - sides[1].mean()))
    error = np.sqrt(sum(one.var(ddof=1) / len(one) for one in sides) + (ROUNDING * margin) ** 2)
    return float(stats.t.sf((margin - gap) / error, df=min(map(len, sides)) - 1))


def beyond_random(value: float, null: Float[np.ndarray, " draws"]) -> float:
    """p of a shift among those of random directions of the same norm, high less low along each.

        t = T / √(mean T*²),     as many degrees of freedom as draws

    A direction and its negative give opposite shifts, so that their mean is 0, and in first order T* = g·v with v
    uniform on a sphere of many dimensions: normal. nan without draws.
    """
    if not len(null) or np.isnan(null).any() or np.isnan(value):
        return float("nan")
    spread = float(np.sqrt(np.mean(null**2)))
    return float(stats.t.sf(value / max(spread, 1e-12), df=len(null)))
