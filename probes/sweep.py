"""Sweep: every layer, grouped folds, intervals and controls in one table."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedGroupKFold

from lens.activations import Activations
from lens.errors import DataError
from lens.intervals import FEW_GROUPS
from lens.progress import bar
from lens.sites import Site
from lens.spans import Span
from lens.text_only import TEXT_ONLY, Fold, lengths, text_fold_scores
from probes.base import LinearProbe
from probes.controls import oriented, random_direction_aurocs
from probes.fit import check_labels, make, name_of
from probes.metrics import auroc, auroc_interval, p_value, permute_labels


def sweep(
    acts: Activations,
    probes: "str | LinearProbe | Sequence[str | LinearProbe]" = ("mean_difference", "logistic"),
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Cross-validate probes at every collected site; groups are never split across folds.

    One row per site and probe:
    auroc, low, high: out-of-fold AUROC with its cluster-bootstrap 95 % interval over groups. accuracy: at
    threshold 0. random_direction, random_high: mean and 95th percentile over random directions. shuffled: mean
    AUROC of the same probe refitted on permuted labels. p: permutation p-value against the *best* cell of each
    permuted sweep, so that choosing the best layer is paid for; it cannot fall below 1 / (permutations + 1).
    bag_of_words, char_ngrams, length: what the text alone gives, in the same folds (see `lens.text_only`): a probe
    that is no better than the best of them has shown nothing about the model.

    Raises DataError: one class, too few groups for the folds. Warns below 20 groups, where the interval is too
    narrow.
    """
    labels, groups = check_labels(acts), acts.groups
    if permutations < 0 or folds < 2:
        raise DataError(f"permutations={permutations}, folds={folds}: at least 0 permutations and 2 folds are needed.")
    chosen = [probes] if isinstance(probes, str | LinearProbe) else list(probes)
    for probe in chosen:
        make(probe)
    plan = grouped_folds(labels, groups, folds, seed)
    arrays = {site: acts.numpy(site).astype(np.float64) for site in acts.sites}
    cells = [(site, probe) for site in acts.sites for probe in chosen]

    def aurocs(y: np.ndarray) -> Float[np.ndarray, " cells"]:
        return np.array([auroc(y, cross_scores(arrays[site], y, plan, probe)) for site, probe in cells])

    null = []
    with bar("Sweeping", total=permutations + 1, shown=progress) as advance:
        scores = [cross_scores(arrays[site], labels, plan, probe) for site, probe in cells]
        advance(1)
        for shuffled in _permutations(labels, groups, plan, permutations, seed):
            null.append(aurocs(shuffled))
            advance(1)
    texts = acts.examples.texts(response=Span.parse(acts.source.span).reads_response)
    text = {name: float(auroc(labels, text_fold_scores(name, texts, labels, plan, seed=seed))) for name in TEXT_ONLY}
    text["length"] = float(auroc(labels, oriented(lengths(texts)[:, None], labels, plan))[0])
    random = {
        site: random_direction_aurocs(arrays[site], labels, plan, draws=random_draws, seed=seed) for site in acts.sites
    }
    nulls = np.array(null).reshape(permutations, len(cells))
    rows = []
    for number, ((site, probe), score) in enumerate(zip(cells, scores, strict=True)):
        value = float(auroc(labels, score))
        low, high = auroc_interval(labels, score, groups, seed=seed)
        rows.append(
            {
                "site": str(site),
                "probe": name_of(probe),
                "auroc": value,
                "low": low,
                "high": high,
                "accuracy": float(((score > 0) == labels).mean()),
                "random_direction": float(random[site].mean()),
                "random_high": float(np.quantile(random[site], 0.95)),
                "shuffled": float(nulls[:, number].mean()) if permutations else np.nan,
                "p": p_value(nulls.max(axis=1), value) if permutations else np.nan,
                **text,
                "n": len(labels),
                "groups": len(set(groups)),
            }
        )
    return pd.DataFrame(rows)


def grouped_folds(labels: Int[np.ndarray, " n"], groups: np.ndarray, folds: int, seed: int) -> list[Fold]:
    """Stratified folds that keep groups whole.

    Raises DataError: fewer groups than folds, or a class that one fold would not see. Warns below 20 groups.
    """
    count = len(set(groups.astype(str)))
    for value in (0, 1):
        holding = len(set(groups[labels == value].astype(str)))
        if holding < 2:
            raise DataError(
                f"Label {value} occurs in {holding} group of {count}; at least 2 groups must hold each label."
            )
    if count < folds:
        raise DataError(f"{count} groups cannot make {folds} folds; give more groups, or folds={count} or less.")
    if count < FEW_GROUPS:
        warnings.warn(f"Only {count} groups: bootstrap intervals are too narrow below {FEW_GROUPS}.", stacklevel=3)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        plan = list(splitter.split(np.zeros(len(labels)), labels, groups.astype(str)))
    if any(len(set(labels[train])) < 2 for train, _ in plan):
        raise DataError(f"{folds} folds leave a training part with one label; use fewer folds.")
    return [fold for fold in plan if len(fold[1])]


def _permutations(
    labels: Int[np.ndarray, " n"], groups: np.ndarray, plan: Sequence[Fold], count: int, seed: int
) -> Iterator[Int[np.ndarray, " n"]]:
    """Permuted labels that leave both classes in every training part, as the real ones do."""
    made = 0
    for draw in itertools.count(1):
        if made == count:
            return
        shuffled = permute_labels(labels, groups, seed + draw)
        if all(len(set(shuffled[train])) == 2 for train, _ in plan):
            made += 1
            yield shuffled


def cross_scores(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], plan: Sequence[Fold], probe: str | LinearProbe
) -> Float[np.ndarray, " n"]:
    """Out-of-fold scores of one probe."""
    scores = np.full(len(labels), np.nan)
    for train, test in plan:
        scores[test] = make(probe).fit(X[train], labels[train]).decision_function(X[test])
    return scores


@dataclass(frozen=True)
class Best:
    """The cell chosen from a sweep."""

    site: Site
    probe: str
    auroc: float


def best(table: pd.DataFrame) -> Best:
    """The cell with the highest lower bound; ties go to the higher AUROC, then to the earlier row."""
    if len(table) == 0:
        raise DataError("The sweep table is empty: there is nothing to choose from.")
    row = table.sort_values(["low", "auroc"], ascending=False, kind="stable").iloc[0]
    return Best(Site.parse(row["site"]), row["probe"], float(row["auroc"]))
