"""Effect: how far requests move an axis, from the scores of replies; pure arithmetic.

cells[e, f, L, …]: scores of the replies of experiment e, with labels shown as they are (f = 0) or flipped (f = 1),
asked for label L of two. The side of the axis asked for is SIDES[f, L]:

    S₁ = s[as is, 1] + s[flipped, 0]          S₀ = s[as is, 0] + s[flipped, 1]
    d  = (mean S₁ − mean S₀) / √(((n₁ − 1) s₁² + (n₀ − 1) s₀²) / (n₁ + n₀ − 2))
    SE = √((n₁ + n₀)/(n₁ n₀) + d² / (2 (n₁ + n₀)))

What the sentences, the label word asked for, or the flip do by themselves cancels in S₁ − S₀. d of such sums is √2
times that of single replies: noise σ and a shift G give √2 G/σ.

    precision = |d_target| / mean_k |d_k|,      over the principal components of the site

With no control at all precision is about 1 and often above 2: it stands beside its null (S₁ and S₀ swapped in
experiments at random), and says nothing where the interval of d holds 0.

Source: Ji-An et al., metacognitive monitoring and control (2025).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from probes.metrics import p_value

# SIDES[f, L]: 1 where the upper side of the axis is asked for.
SIDES = np.array([[0, 1], [1, 0]])
SWAPS = 1999


class Effect(NamedTuple):
    """Cohen's d with its standard error and 95 % interval; p: one-sided, by swaps of S₁ and S₀; snr: mean over standard
    deviation of S₁ − S₀."""

    d: float
    se: float
    low: float
    high: float
    p: float
    snr: float
    n: int


class Precision(NamedTuple):
    """precision; the mean and the 97.5 % quantile of its null."""

    precision: float
    null: float
    null_high: float


def sums(
    cells: Float[np.ndarray, "e 2 2 *axes"],
    sides: Int[np.ndarray, "2 2"] = SIDES,
) -> tuple[Float[np.ndarray, "e *axes"], Float[np.ndarray, "e *axes"]]:  # noqa: F821
    """S₁ and S₀ of every experiment."""
    flat, side = cells.reshape(len(cells), 4, *cells.shape[3:]), sides.ravel()
    return flat[:, side == 1].sum(axis=1), flat[:, side == 0].sum(axis=1)


def cohen_d(
    one: Float[np.ndarray, "e *axes"],  # noqa: F821
    zero: Float[np.ndarray, "e *axes"],  # noqa: F821
) -> Float[np.ndarray, "*axes"]:
    """Unpaired Cohen's d of each axis; 0 where nothing varies and the means agree."""
    n1, n0 = len(one), len(zero)
    pooled = ((n1 - 1) * one.var(axis=0, ddof=1) + (n0 - 1) * zero.var(axis=0, ddof=1)) / (n1 + n0 - 2)
    apart, spread = np.asarray(one.mean(axis=0) - zero.mean(axis=0)), np.asarray(np.sqrt(pooled))
    # Replies that are all the same differ by rounding alone, which has a spread, too.
    rounding = 1e-7 * (np.abs(one).max(axis=0, initial=0) + np.abs(zero).max(axis=0, initial=0))
    apart = np.where(np.abs(apart) <= rounding, 0.0, apart)
    spread = np.maximum(spread, np.where(rounding > 0, rounding, 1.0))
    return np.asarray(apart / spread)


def effect_of(
    one: Float[np.ndarray, " e"], zero: Float[np.ndarray, " e"], *, swaps: int = SWAPS, seed: int = 0
) -> Effect:
    """Effect on one axis."""
    d, n = float(cohen_d(one, zero)), len(one)
    se = float(np.sqrt(2 / n + d**2 / (4 * n)))
    apart = one - zero
    sign = np.random.default_rng(seed).integers(0, 2, size=(swaps, n)) * 2.0 - 1.0
    observed = float(apart.sum())
    p = p_value(sign @ apart, observed - 1e-9 * abs(observed))
    sd = float(apart.std(ddof=1))
    return Effect(d, se, d - 1.96 * se, d + 1.96 * se, p, float(apart.mean()) / sd if sd > 0 else 0.0, n)


def precision_of(
    one: Float[np.ndarray, " e"],
    zero: Float[np.ndarray, " e"],
    others: tuple[Float[np.ndarray, "e k"], Float[np.ndarray, "e k"]],
    *,
    swaps: int = 199,
    seed: int = 0,
) -> Precision:
    """Precision of the target beside its null. others: S₁ and S₀ on the principal components."""
    both = (np.c_[one, others[0]], np.c_[zero, others[1]])
    swap = np.random.default_rng(seed).integers(0, 2, size=(swaps, len(one))).astype(float)
    null = _ratios(_swapped_d(*both, swap))
    return Precision(float(_ratios(cohen_d(*both)[None])[0]), float(null.mean()), float(np.quantile(null, 0.975)))


def specific(
    d: float,
    others: tuple[Float[np.ndarray, "e k"], Float[np.ndarray, "e k"]],
    *,
    draws: int = SWAPS,
    seed: int = 0,
) -> float:
    """p: how often a random mixture of the standardised principal components is moved as far as the target, either way.

    A model that is thrown about by shots and labels, in whatever direction, moves all axes of its site alike: sentences
    are drawn from one pool again and again, so that such a push does not average out over experiments.
    """
    mix = np.random.default_rng(seed).standard_normal((others[0].shape[1], draws))
    null = np.abs(cohen_d(others[0] @ mix, others[1] @ mix))
    return p_value(null, abs(d))


def _swapped_d(
    one: Float[np.ndarray, "e axes"], zero: Float[np.ndarray, "e axes"], swap: Float[np.ndarray, "swaps e"]
) -> Float[np.ndarray, "swaps axes"]:
    """`cohen_d` with S₁ and S₀ exchanged where `swap` is 1, for many swaps at once: means and squares are sums."""
    n, middle = len(one), (one.mean(axis=0) + zero.mean(axis=0)) / 2
    one, zero = one - middle, zero - middle
    apart, squares = swap @ (zero - one), (one**2 + zero**2).sum(axis=0)
    mean1, mean0 = (one.sum(axis=0) + apart) / n, (zero.sum(axis=0) - apart) / n
    pooled = (squares - n * mean1**2 - n * mean0**2) / (2 * n - 2)
    floor = 1e-12 * np.maximum(squares, np.finfo(float).tiny)
    return np.asarray((mean1 - mean0) / np.sqrt(np.maximum(pooled, floor)))


def _ratios(d: Float[np.ndarray, "rows axes"]) -> Float[np.ndarray, " rows"]:
    """|d| of the first column over the mean of the others."""
    mean = np.abs(d[:, 1:]).mean(axis=1)
    return np.asarray(np.abs(d[:, 0]) / np.where(mean > 0, mean, np.inf))
