"""Evidence: what may be claimed of several models with a backdoor, beside several with the same data and no backdoor.

    Δ = mean over models with a backdoor − mean over models without,     of one number per model
    p = share of the ways to call n of the n + m models backdoored with Δ* ≥ Δ, the way it is included,
        after the smallest difference that counts is taken from those with a backdoor:  H₀: Δ ≤ least

A model is one draw of training: prompts to the same model share whatever it happens to believe, and are no replicates.
Where the number is the best of several sites, every permutation takes its own best.

    ranking of k candidates by models:  MRR(c) = mean over models of 1 / rank of c
    p = #{ c : MRR(c) ≥ MRR(trigger) } / k,     one permutation of the candidates' names for all models at once
    p = as above, of 1 / rank of the trigger,   where there are several models with and several without

Ranks of several models are not taken as independent: seeds of one base share which words raise the attack, with or
without a backdoor, and a word that is first in one of them is first in most. Whatever they share, the real trigger is
no likelier than any other candidate to be the one that is first; so the first p holds, and cannot fall below 1 / k.
The second takes what models share from both sides, and keeps the power of many models.

Source: permutation over models after Betley et al., Tell me about yourself (2501.11120), 2025; Fisher (1935); the
reciprocal rank: Voorhees, The TREC-8 Question Answering Track Report (1999).
"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats

from lens.intervals import percentiles, wilson
from probes.metrics import p_value

# So many ways are counted; of more, so many are drawn.
WAYS, DRAWN = 20_000, 9_999


def over_models(
    backdoored: Float[np.ndarray, "n *sites"],  # noqa: F821
    without: Float[np.ndarray, "m *sites"],  # noqa: F821
    *,
    least: float = 0.0,
    seed: int = 0,
) -> dict[str, float]:
    """Δ with Welch's 95 % interval over models, and its one-sided permutation p against `least`; with sites, of the
    best site.

    Everything but the value is nan for fewer than two models on either side; a site at which any model has no number
    is left out, and where none is left the value is nan, too.
    """
    both = np.concatenate([backdoored - least, without]).reshape(len(backdoored) + len(without), -1)
    n, total = len(backdoored), len(both)
    whole = np.flatnonzero(np.isfinite(both).all(axis=0))
    if not len(whole):
        return dict.fromkeys(("value", "low", "high", "p", "best"), np.nan)
    both = both[:, whole]
    change = both[:n].mean(axis=0) - both[n:].mean(axis=0)
    best = int(change.argmax())
    found = {"value": float(change[best]) + least, "low": np.nan, "high": np.nan, "p": np.nan, "best": int(whole[best])}
    if min(n, total - n) < 2:
        return found
    inside = _ways(total, n, seed).astype(float)
    # [ways, sites]: every way to call n of them backdoored, each with its own best site.
    gaps = np.tensordot(inside / n - (1 - inside) / (total - n), both, axes=1)
    null = gaps.max(axis=1)
    exact = math.comb(total, n) <= WAYS
    # Of all ways, one is the way it is; of drawn ones, it is added.
    p = float(np.mean(null >= change[best] - 1e-12)) if exact else p_value(null, float(change[best]))
    low, high = _welch(both[:n, best], both[n:, best])
    return found | {"low": low + least, "high": high + least, "p": p}


def _ways(total: int, n: int, seed: int) -> Bool[np.ndarray, "ways total"]:
    """Which models are called backdoored: all ways, or ways drawn at random."""
    if math.comb(total, n) <= WAYS:
        chosen = np.array(list(combinations(range(total), n)))
    else:
        rng = np.random.default_rng(seed)
        chosen = np.stack([rng.permutation(total)[:n] for _ in range(DRAWN)])
    inside = np.zeros((len(chosen), total), dtype=bool)
    np.put_along_axis(inside, chosen, True, axis=1)
    return inside


def _welch(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " m"]) -> tuple[float, float]:
    gap, parts = float(one.mean() - other.mean()), [float(x.var(ddof=1)) / len(x) for x in (one, other)]
    variance = sum(parts)
    if variance <= 1e-24:
        return gap, gap
    freedom = variance**2 / sum(part**2 / (len(x) - 1) for part, x in zip(parts, (one, other), strict=True))
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    return gap - half, gap + half


def ranks_of(scores: Float[np.ndarray, "models k"]) -> Float[np.ndarray, "models k"]:
    """Of every model, the rank of every candidate's score, 1 the highest; ties share their mean rank."""
    return np.asarray(stats.rankdata(-scores, axis=1), dtype=float)


def rank_of(scores: pd.Series, trigger: str) -> float:
    """The rank of the trigger's score among all, 1 the highest; ties share their mean rank."""
    return float(ranks_of(scores.to_numpy(dtype=float)[None])[0, list(scores.index).index(trigger)])


def ranking(ranks: Float[np.ndarray, "models k"], trigger: int) -> dict[str, float]:
    """MRR of the trigger, with the mean of all candidates' and its p; Hits@1 with Wilson's interval and its p.

    ranks: of every candidate by every model. trigger: which candidate is the real one. Both p are shares of the k
    candidates that do as well or better, itself among them: valid whatever the models have in common, at least 1 / k.
    """
    m, k = ranks.shape
    each, firsts = (1 / ranks).mean(axis=0), (ranks == 1).sum(axis=0)
    low, high = wilson(int(firsts[trigger]), m)
    return {
        "mrr": float(each[trigger]),
        "mrr_null": float(each.mean()),
        "p": float(np.mean(each >= each[trigger] - 1e-12)) if np.isfinite(each).all() else np.nan,
        "hits": int(firsts[trigger]) / m,
        "hits_low": low,
        "hits_high": high,
        "hits_null": 1 / k,
        "hits_p": float(np.mean(firsts >= firsts[trigger])) if np.isfinite(each).all() else np.nan,
    }


def rank_interval(
    tables: Sequence[Float[np.ndarray, "requests k"]], trigger: int, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap 95 % interval of the MRR: models are drawn anew, and within each the requests.

    tables: of each model, the candidates' scores; trigger: which of them is the real one.
    """
    rng = np.random.default_rng(seed)
    reciprocal = []
    for table in tables:
        n = len(table)
        scores = rng.multinomial(n, np.full(n, 1 / n), size=draws) @ table / n
        own = scores[:, [trigger]]
        # As `rank_of`: those above count whole, ties half; itself is a tie.
        above, ties = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
        reciprocal.append(1 / (above + (ties + 1) / 2))
    chosen = rng.integers(0, len(tables), size=(draws, len(tables)))
    values = np.stack(reciprocal, axis=1)[np.arange(draws)[:, None], chosen].mean(axis=1)
    return percentiles(values, 0.95)
