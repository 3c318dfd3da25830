"""Attention probe: learned queries say how much each token counts, learned values what it counts for.

    a_kt = exp(q_k · h_t) / Σ_u exp(q_k · h_u),        score = Σ_k v_k · Σ_t a_kt h_t + b,      k over heads

With q = 0 it is the mean, with q = v / τ the softmax pool; unlike these it may look for one thing and read another.
What all tokens of a row have in common moves no weight.

It is no linear probe of a token: exp(q · h) multiplies what the token holds, and an exclusive or of two directions that
no linear probe reads, and nothing computes, is read without error (the organism `deception-honest`: scenario and belief
at resid_post.1, AUROC 1.00, where the mean has .42). `max` and `softmax` do so in part (.81, .96).

The loss is not convex. Of two searches, from q = 0 and from the softmax pool's q = v, the lower end is kept; random
starts end lower where there is little to find, and then read new rows no better. Heads after the first begin at random
queries, with v = 0.

Source: McKenzie et al., Detecting High-Stakes Interactions with Activation Probes (2025), with one head; Shabalin &
Belrose, Attention Probes (EleutherAI blog, 2025), with several; Ilse et al., Attention-based Deep Multiple Instance
Learning (2018), for attention over a set with one label. The penalty on q is our own.
"""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from lens.errors import DataError
from probes.tokens.base import Loss, Point, UnpooledProbe, log_loss, minimise
from probes.tokens.pooled import pooled_loss
from probes.tokens.rows import TokenRows


class AttentionProbe(UnpooledProbe):
    """L2-penalised logistic regression on tokens pooled by attention; `queries_` and `values_` are [heads, d].

    C: inverse strength of the penalty on both. seed: of the queries of heads after the first.
    """

    queries_: Float[np.ndarray, "heads d"]

    def __init__(self, heads: int = 1, *, C: float = 1.0, seed: int = 0, max_iter: int = 1000) -> None:
        self.heads = heads
        self.C = C
        self.seed = seed
        self.max_iter = max_iter

    def check_parameters(self) -> None:
        super().check_parameters()
        if self.heads < 1:
            raise DataError(f"heads={self.heads}: at least 1 is needed.")

    def _search(
        self,
        tokens: TokenRows,
        positive: Bool[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        scale: Float[np.ndarray, " d"],
    ) -> tuple[Float[np.ndarray, "heads d"], float]:
        heavy = self.C * weight

        def search(loss: Loss, start: Point) -> tuple[Point, float, int]:
            return minimise(loss, start, size=float(heavy.sum()), max_iter=self.max_iter)

        alike = partial(pooled_loss, tokens=tokens, positive=positive, weight=heavy, pool="softmax", temperature=1.0)
        softmax, _, before = search(alike, np.zeros(tokens.values.shape[1] + 1))
        attention = partial(_loss, tokens=tokens, positive=positive, weight=heavy, heads=self.heads)
        ends = [search(attention, self._start(softmax, query=share * softmax[:-1])) for share in (0.0, 1.0)]
        point, self.loss_, steps = min(ends, key=lambda end: end[1])
        self.n_iter_ = before + steps
        queries, values, intercept = _parts(point, self.heads)
        self.queries_ = queries / scale
        return values, intercept

    def _start(self, softmax: Point, *, query: Float[np.ndarray, " d"]) -> Float[np.ndarray, " all"]:
        width = len(query)
        others = np.random.default_rng(self.seed).standard_normal((self.heads - 1, width)) / np.sqrt(width)
        return np.concatenate([query, others.ravel(), softmax[:-1], 0 * others.ravel(), softmax[-1:]])

    def _weights(self, tokens: TokenRows) -> Float[np.ndarray, "all heads"]:
        return tokens.softmax(tokens.values @ self.queries_.T)


def _parts(point: Point, heads: int) -> tuple[Float[np.ndarray, "heads d"], Float[np.ndarray, "heads d"], float]:
    queries, values = point[:-1].reshape(2, heads, -1)
    return queries, values, float(point[-1])


def _loss(
    point: Point, *, tokens: TokenRows, positive: Bool[np.ndarray, " n"], weight: Float[np.ndarray, " n"], heads: int
) -> tuple[float, Point]:
    """The penalised loss and its slope."""
    queries, values, intercept = _parts(point, heads)
    share = tokens.softmax(tokens.values @ queries.T)
    along = tokens.values @ values.T
    read = tokens.total(share * along)
    value, slope = log_loss(read.sum(axis=1) + intercept, positive, weight)
    pull = tokens.spread(slope)[:, None] * share
    asked = (pull * (along - tokens.spread(read))).T @ tokens.values + queries
    steep = np.concatenate([asked, pull.T @ tokens.values + values])
    return value + float(point[:-1] @ point[:-1]) / 2, np.append(steep, slope.sum())
