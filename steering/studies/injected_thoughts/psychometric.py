"""Psychometric: how noticing grows with strength.

    ψ(x) = γ + (1 − γ − λ) / (1 + e^{−β (x − α)}),     α threshold, β slope, γ guess rate, λ lapse rate

by maximum likelihood, with intervals from the parametric bootstrap. At the threshold the rate is halfway between γ and
1 − λ.

Source: Wichmann & Hill, The psychometric function I: Fitting, sampling, and goodness of fit; II: Bootstrap-based
confidence intervals and sampling (2001).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize, special, stats

from lens.errors import DataError
from lens.intervals import percentiles

LEVEL = 0.05
MOST = 0.5
STEEPEST = 400.0


@dataclass(frozen=True)
class Psychometric:
    """A fitted curve. low, high: 95 % interval of the threshold. rises: whether it fits better than a constant rate
    (likelihood ratio, p < .05); where it does not, threshold and slope are nan, and guess is that rate."""

    threshold: float
    low: float
    high: float
    slope: float
    guess: float
    lapse: float
    rises: bool

    def __call__(self, strength: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The rate at each strength."""
        if not self.rises:
            return np.full(len(strength), self.guess)
        return _curve(np.array([self.threshold, self.slope, self.guess, self.lapse]), strength)


def psychometric_fit(
    strength: Float[np.ndarray, " k"],
    hits: Float[np.ndarray, " k"],
    n: Float[np.ndarray, " k"],
    *,
    draws: int = 200,
    seed: int = 0,
) -> Psychometric:
    """Fit a curve to hits out of n at each strength; hits may be expected numbers, of probabilities.

    Raises DataError: fewer than three strengths, or hits that are not between 0 and n.
    """
    if len(set(strength.tolist())) < 3:
        raise DataError(f"A psychometric curve needs at least three strengths; given: {len(set(strength.tolist()))}.")
    if bool(((hits < 0) | (hits > n) | (n <= 0)).any()):
        raise DataError("Hits must lie between 0 and n, and n above 0, at every strength.")
    rate = float(hits.sum() / n.sum())
    flat = _loss_of(np.full(len(n), rate), hits, n)
    span = float(np.ptp(strength))
    starts = [
        np.array([middle, slope / span, low, lapse])
        for middle in np.quantile(strength, [0.25, 0.5, 0.75])
        for slope in (5.0, 40.0)
        for low, lapse in [(min(float((hits / n).min()) + 0.01, 0.4), min(1.01 - float((hits / n).max()), 0.4))]
    ]
    best, loss = min((_fit(start, strength, hits, n) for start in starts), key=lambda pair: pair[1])
    gain = 2 * (flat - loss)
    if not stats.chi2.sf(max(gain, 0.0), 3) < LEVEL:
        return Psychometric(np.nan, np.nan, np.nan, np.nan, rate, 0.0, rises=False)
    rng, whole = np.random.default_rng(seed), np.round(n).astype(int)
    expected = np.clip(_curve(best, strength), 0.0, 1.0)
    again = [
        _fit(best, strength, rng.binomial(whole, expected).astype(float), whole.astype(float))[0][0]
        for _ in range(draws)
    ]
    low, high = percentiles(np.array(again), 0.95)
    alpha, beta, guess, lapse = (float(one) for one in best)
    return Psychometric(alpha, low, high, beta, guess, lapse, rises=True)


def _curve(point: np.ndarray, strength: np.ndarray) -> np.ndarray:
    alpha, beta, guess, lapse = point
    return np.asarray(guess + (1 - guess - lapse) * special.expit(beta * (strength - alpha)))


def _loss_of(rate: np.ndarray, hits: np.ndarray, n: np.ndarray) -> float:
    return float(-(special.xlogy(hits, rate) + special.xlog1py(n - hits, -rate)).sum())


def _fit(start: np.ndarray, strength: np.ndarray, hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, float]:
    span, top = float(np.ptp(strength)), float(strength.max())

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        alpha, beta, guess, lapse = point
        rise = special.expit(beta * (strength - alpha))
        height = 1 - guess - lapse
        rate = np.clip(guess + height * rise, 1e-9, 1 - 1e-9)
        slope = height * rise * (1 - rise)
        down = (n - hits) / (1 - rate) - hits / rate
        parts = np.stack([-slope * beta, slope * (strength - alpha), 1 - rise, -rise])
        return float(-(hits * np.log(rate) + (n - hits) * np.log1p(-rate)).sum()), parts @ down

    # The threshold may lie beyond what was tried, but not where nothing tells.
    bounds = [(float(strength.min()), top + span / 2), (0.5 / span, STEEPEST / span), (0.0, MOST), (0.0, MOST)]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x, float(found.fun)
