"""P(IK), "I know": a linear probe of how probable the right answer is, read where the question ends.

    minimise  Σ_i BCE(p_i, σ(w · h_i + b)) + ‖w‖² / (2C),      p_i: the rate at which question i is answered right

h_i: residual stream at the last token of the question. Folds keep groups whole; the layer is chosen inside the training
groups of each fold, so that choosing is paid for. A deviation from the source, which trains the whole model.

Source: Kadavath et al., Language Models (Mostly) Know What They Know (2022), §4.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import special, stats

from lens.activations import Activations
from lens.errors import DataError
from lens.progress import bar
from lens.text_only import Fold, text_fold_scores
from probes.folds import grouped_folds
from probes.logistic import Logistic
from probes.metrics import auroc, auroc_interval
from steering.studies.self_knowledge.tracking import both_kinds, is_known

INNER = 3
TIE = 1e-9
TEXTS = ("bag_of_words", "char_ngrams")


def fitted(
    X: Float[np.ndarray, "n d"], known: Float[np.ndarray, " n"], new: Float[np.ndarray, "k d"], C: float
) -> Float[np.ndarray, " k"]:
    """P(IK) of new rows by a probe fitted on others."""
    probe = Logistic(C).fit_soft(X, known)
    return np.asarray(special.expit(probe.decision_function(new)))


def nested_scores(
    arrays: Sequence[Float[np.ndarray, "n d"]],
    known: Float[np.ndarray, " n"],
    groups: np.ndarray,
    plan: Sequence[Fold],
    *,
    C: float,
    seed: int,
    label: str = "Fitting P(IK)",
    progress: bool = True,
) -> tuple[Float[np.ndarray, " n"], list[int]]:
    """Out-of-fold P(IK) by the layer that inner folds of the training groups choose, and each fold's choice."""
    labels, out, chosen = is_known(known), np.full(len(known), np.nan), []
    with bar(label, total=len(plan), shown=progress) as advance:
        for train, test in plan:
            best = 0
            if len(arrays) > 1:
                inside = grouped_folds(labels[train], groups[train], INNER, seed, warned=True)
                found = [_auroc_out_of(X[train], known[train], labels[train], inside, C) for X in arrays]
                # Of layers that are as good, the last: it has read all that bears on the answer.
                best = int(np.flatnonzero(np.array(found) > max(found) - TIE)[-1])
            chosen.append(best)
            out[test] = fitted(arrays[best][train], known[train], arrays[best][test], C)
            advance(1)
    return out, chosen


def _auroc_out_of(X: np.ndarray, known: np.ndarray, labels: np.ndarray, plan: Sequence[Fold], C: float) -> float:
    return float(auroc(labels, out_of_fold(X, known, plan, C)))


def out_of_fold(
    X: Float[np.ndarray, "n d"], known: Float[np.ndarray, " n"], plan: Sequence[Fold], C: float
) -> Float[np.ndarray, " n"]:
    """P(IK) of every row by the probe of its fold."""
    out = np.full(len(X), np.nan)
    for train, test in plan:
        out[test] = fitted(X[train], known[train], X[test], C)
    return out


def by_layer(
    acts: Activations, known: Float[np.ndarray, " n"], plan: Sequence[Fold], *, C: float, seed: int
) -> pd.DataFrame:
    """Each layer's out-of-fold AUROC with its interval, and its rank correlation with the rate; to read, not to choose
    by and report."""
    labels, rows = is_known(known), []
    for site in acts.sites:
        score = out_of_fold(acts.numpy(site).astype(np.float64), known, plan, C)
        low, high = auroc_interval(labels, score, acts.groups, seed=seed)
        rho = float(stats.spearmanr(score, known).statistic)
        found = float(auroc(labels, score))
        rows.append({"site": str(site), "layer": site.layer, "auroc": found, "low": low, "high": high, "rho": rho})
    return pd.DataFrame(rows)


def text_scores(
    texts: Sequence[str], known: Float[np.ndarray, " n"], plan: Sequence[Fold], *, seed: int
) -> dict[str, Float[np.ndarray, " n"]]:
    """Out-of-fold scores of classifiers that see the questions' texts alone."""
    labels = is_known(known)
    return {name: text_fold_scores(name, list(texts), labels, plan, seed=seed) for name in TEXTS}


def leave_one_out(strata: np.ndarray, known: Float[np.ndarray, " n"]) -> list[Fold]:
    """One fold per topic. Raises DataError: a single topic, or training topics that are known throughout, or not."""
    names = np.unique(strata)
    if len(names) < 2:
        raise DataError(f"Transfer to new topics needs at least two; given: {names[0]!r} alone.")
    plan = [(np.flatnonzero(strata != name), np.flatnonzero(strata == name)) for name in names]
    for name, (train, _) in zip(names, plan, strict=True):
        if not both_kinds(known[train]):
            raise DataError(
                f"Without topic {name!r}, all questions are known or none is: nothing can be learned there."
            )
    return plan
