"""Token probes with a fixed pool: one linear score per token, the row's score pooled from them.

    s_t = v · h_t + b,        score = Σ_t a_t s_t

    mean       a_t = 1 / T
    last       a_t = 1 at the last token
    max        a_t = 1 at the token of the highest score
    softmax    a_t = exp(s_t / τ) / Σ_u exp(s_u / τ)       τ → 0: max, τ → ∞: mean

`mean` and `last` are convex. `softmax` is not, and is searched from v = 0, where it is `mean`. `max` has no slope
where two tokens are level: it is the limit of  τ log Σ_t exp(s_t / τ)  as τ falls, each search beginning where the
last ended. The highest of more tokens is higher by chance alone, so that `max` and `softmax` also read how *long* a
row is. Nor are they symmetric: label 1 is to be the behaviour that a token shows, label 0 its absence.

Source: McKenzie et al., Detecting High-Stakes Interactions with Activation Probes (2025), for these probes; McFee et
al., Adaptive Pooling Operators for Weakly Labeled Sound Event Detection (2018), for pools between mean and maximum.
"""

from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from lens.errors import DataError, available
from probes.tokens.base import Point, UnpooledProbe, log_loss, minimise
from probes.tokens.rows import TokenRows

TokenPool = Literal["mean", "last", "max", "softmax"]
# Of scores that are log-odds: at the last of them a maximum over 100 tokens is exact to 0.05.
FALLING = (1.0, 0.3, 0.1, 0.03, 0.01)


class TokenProbe(UnpooledProbe):
    """L2-penalised logistic regression on the pooled scores of a row's tokens.

    temperature: of `softmax`, in units of the score. C: inverse strength of the penalty.
    """

    def __init__(self, pool: TokenPool, *, temperature: float = 1.0, C: float = 1.0, max_iter: int = 1000) -> None:
        self.pool = pool
        self.temperature = temperature
        self.C = C
        self.max_iter = max_iter

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.pool not in get_args(TokenPool):
            raise DataError(f"Unknown pool {self.pool!r}; available: {available(get_args(TokenPool))}.")
        if self.temperature <= 0:
            raise DataError(f"temperature={self.temperature}: a temperature is above 0.")

    def _search(
        self,
        tokens: TokenRows,
        positive: Bool[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        scale: Float[np.ndarray, " d"],
    ) -> tuple[Float[np.ndarray, "heads d"], float]:
        point, self.n_iter_ = np.zeros(tokens.values.shape[1] + 1), 0
        for temperature in FALLING if self.pool == "max" else (self.temperature,):
            objective = partial(
                pooled_loss,
                tokens=tokens,
                positive=positive,
                weight=self.C * weight,
                pool=self.pool,
                temperature=temperature,
            )
            point, self.loss_, steps = minimise(
                objective, point, size=self.C * float(weight.sum()), max_iter=self.max_iter
            )
            self.n_iter_ += steps
        return point[None, :-1], float(point[-1])

    def _weights(self, tokens: TokenRows) -> Float[np.ndarray, "all heads"]:
        score = tokens.values @ self.coef_[0] + self.intercept_[0]
        return _share(score, tokens, self.pool, self.temperature)[:, None]


def _share(
    score: Float[np.ndarray, " all"], tokens: TokenRows, pool: TokenPool, temperature: float
) -> Float[np.ndarray, " all"]:
    """The weight of each token, by its score."""
    if pool == "softmax":
        return tokens.softmax(score / temperature)
    if pool == "mean":
        return tokens.spread(1 / tokens.counts)
    chosen = tokens.starts + tokens.counts - 1
    if pool == "max":
        level = score == tokens.spread(tokens.highest(score))
        chosen = np.minimum.reduceat(np.where(level, np.arange(len(score)), len(score)), tokens.starts)
    return np.isin(np.arange(len(score)), chosen).astype(float)


def pooled_loss(
    point: Point,
    *,
    tokens: TokenRows,
    positive: Bool[np.ndarray, " n"],
    weight: Float[np.ndarray, " n"],
    pool: TokenPool,
    temperature: float,
) -> tuple[float, Point]:
    """The penalised loss and its slope; of `max`, its smooth bound at this temperature."""
    v, b = point[:-1], point[-1]
    score = tokens.values @ v + b
    if pool == "max":
        top = tokens.highest(score)
        row = top + temperature * np.log(tokens.total(np.exp((score - tokens.spread(top)) / temperature)))
        steep = tokens.softmax(score / temperature)
    else:
        share = _share(score, tokens, pool, temperature)
        row = tokens.total(share * score)
        steep = share * (1 + (score - tokens.spread(row)) / temperature) if pool == "softmax" else share
    value, slope = log_loss(row, positive, weight)
    pull = tokens.spread(slope) * steep
    return value + float(v @ v) / 2, np.append(pull @ tokens.values + v, pull.sum())
