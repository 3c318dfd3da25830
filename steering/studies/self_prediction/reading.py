"""Reading: the same probe, in the same folds, on whatever may tell an answer: activations, words, spelling.

Each fold takes the site with the lowest cross-entropy inside its training groups, or, where none is below that of a
constant, how often each value occurs there: the choice is paid for, and a reader that learns nothing says the commonest
value, rather than what was rarer in its own group (where every word goes with all values equally often, leaving a group
out tips the balance of the rest against it). Inside fold f the parts are the other folds g; the probe without f and g
serves both f and g.

    p_k = (1 − FLOOR) σ(s_k)/Σ_j σ(s_j) + FLOOR/K,      s_k: fitted on value k against all others

Source: Stone, Cross-validatory Choice and Assessment of Statistical Predictions (1974).
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedGroupKFold

from lens.errors import DataError
from lens.text_only import Fold, text_fold_scores
from probes.base import LogOdds, Probe
from probes.fit import make

# No value is ruled out: the cross-entropy of a wrong guess is finite.
FLOOR, CONSTANT = 0.01, "constant"
TEXT: Mapping[str, dict[str, Any]] = {
    "words": {"token_pattern": r"(?u)\S+"},
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
}
SPELLING, MOST_TERMS = "char_ngrams", 4096


def check_folds(groups: np.ndarray, folds: int) -> None:
    """Raises DataError: fewer groups than folds, or too few folds to choose inside of."""
    count = len(set(groups.astype(str)))
    if folds < 3 or count < folds:
        raise DataError(f"folds={folds}: from 3 to the number of groups, {count}, are needed.")


def folds_of(codes: Int[np.ndarray, " n"], groups: np.ndarray, folds: int, seed: int) -> list[Fold]:
    """Folds that keep groups whole, stratified by value. Raises DataError: fewer groups than folds."""
    check_folds(groups, folds)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        plan = list(splitter.split(np.zeros(len(codes)), codes, groups.astype(str)))
    return [fold for fold in plan if len(fold[1])]


def check_probe(probe: str | Probe) -> None:
    """Raises DataError: no such probe, or one whose scores are no log-odds, from which no cross-entropy follows."""
    made = make(probe)
    if not isinstance(made, LogOdds):
        raise DataError(f"{type(made).__name__} gives no probabilities; take one that does, such as 'logistic'.")
    made.check_parameters()


def probabilities(
    X: Float[np.ndarray, "n d"],
    codes: Int[np.ndarray, " n"],
    test: Float[np.ndarray, "m d"],
    k: int,
    probe: str | Probe,
) -> Float[np.ndarray, "m k"]:
    """The probability of each of k values, of test rows; values that no training row has get what is left to all."""
    held = np.unique(codes)
    p = np.zeros((len(test), k))
    if len(held) == 1:
        p[:, held[0]] = 1.0
    elif len(held) == 2:
        fitted: Any = make(probe).fit(X, (codes == held[1]).astype(int))
        p[:, held] = fitted.predict_proba(test)
    else:
        for code in held:
            fitted = make(probe).fit(X, (codes == code).astype(int))
            p[:, code] = fitted.predict_proba(test)[:, 1]
        p /= np.maximum(p.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return (1 - FLOOR) * p + FLOOR / k


def read(
    sites: Mapping[str, Float[np.ndarray, "n d"]],
    codes: Int[np.ndarray, " n"],
    plan: Sequence[Fold],
    k: int,
    probe: str | Probe = "logistic",
    *,
    later: Mapping[str, Float[np.ndarray, "n d"]] | None = None,
) -> pd.DataFrame:
    """Out-of-fold predictions from each site: row, site, predicted (code), p (of the row's own value), and chosen:
    whether this is the site that the row's fold took.

    later: the same rows read again, after a change; they are what is predicted, by probes fitted on `sites`.
    """
    n, taken = len(codes), choices(sites, codes, plan, k, probe)
    tables = []
    for name in (*sites, CONSTANT):
        p = np.zeros((n, k))
        for train, test in plan:
            if name == CONSTANT:
                p[test] = _frequency(codes[train], k)
            else:
                shown = (sites if later is None else later)[name]
                p[test] = probabilities(sites[name][train], codes[train], shown[test], k, probe)
        chosen = np.zeros(n, dtype=bool)
        for (_, test), one in zip(plan, taken, strict=True):
            chosen[test] = one == name
        own = p[np.arange(n), codes]
        table = {"row": range(n), "site": name, "predicted": p.argmax(axis=1), "p": own, "chosen": chosen}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def choices(
    sites: Mapping[str, Float[np.ndarray, "n d"]],
    codes: Int[np.ndarray, " n"],
    plan: Sequence[Fold],
    k: int,
    probe: str | Probe,
) -> list[str]:
    """The site that each fold takes, by cross-entropy over its training groups; or the constant."""
    loss = np.zeros((len(sites) + 1, len(plan)))
    for f, g in itertools.combinations(range(len(plan)), 2):
        left = np.concatenate([plan[f][1], plan[g][1]])
        train = np.setdiff1d(np.arange(len(codes)), left)
        first = len(plan[f][1])
        found = [probabilities(X[train], codes[train], X[left], k, probe) for X in sites.values()]
        found.append(np.tile(_frequency(codes[train], k), (len(left), 1)))
        for number, p in enumerate(found):
            each = -np.log(p[np.arange(len(left)), codes[left]])
            loss[number, f] += each[first:].sum()
            loss[number, g] += each[:first].sum()
    names = [*sites, CONSTANT]
    return [names[int(column.argmin())] for column in loss.T]


def _frequency(codes: Int[np.ndarray, " n"], k: int) -> Float[np.ndarray, " k"]:
    return (1 - FLOOR) * np.bincount(codes, minlength=k) / len(codes) + FLOOR / k


def read_texts(
    texts: Sequence[str], codes: Int[np.ndarray, " n"], plan: Sequence[Fold], k: int, probe: str | Probe
) -> pd.DataFrame:
    """As `read`, from the text alone: with the same probe from words and from characters (TF-IDF, up to three of them),
    and with a non-linear reader of the spelling (`lens.text_only`), which has no probabilities."""
    tables = []
    for name, how in TEXT.items():
        X = TfidfVectorizer(sublinear_tf=True, max_features=MOST_TERMS, **how).fit_transform(texts).toarray()
        tables.append(read({name: X}, codes, plan, k, probe).query("chosen").assign(site=name))
    scores = np.full((len(codes), k), -np.inf)
    for code in np.unique(codes) if k > 2 else [1]:
        scores[:, code] = _spelling(texts, (codes == code).astype(int), plan)
    if k == 2:
        scores[:, 0] = 0.0
    table = {"row": range(len(codes)), "site": "spelling", "predicted": scores.argmax(axis=1), "p": np.nan}
    return pd.concat([*tables, pd.DataFrame(table).assign(chosen=True)], ignore_index=True)


def _spelling(texts: Sequence[str], labels: Int[np.ndarray, " n"], plan: Sequence[Fold]) -> Float[np.ndarray, " n"]:
    """Scores; a fold whose training rows all have one label says that label."""
    scores = np.zeros(len(labels))
    sound = [fold for fold in plan if len(set(labels[fold[0]])) == 2]
    if sound:
        found = text_fold_scores(SPELLING, texts, labels, sound)
        scores = np.where(np.isnan(found), 0.0, found)
    for train, test in plan:
        if len(set(labels[train])) < 2:
            scores[test] = 2.0 * labels[train[0]] - 1.0
    return scores
