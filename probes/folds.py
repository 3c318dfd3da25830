"""Folds: training and test parts that share no group, permuted labels with folds of their own, out-of-fold scores."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedGroupKFold

from lens.errors import DataError
from lens.intervals import FEW_GROUPS
from lens.text_only import Fold
from probes.base import Probe, fit_together
from probes.fit import make
from probes.metrics import permute_labels

Permuted = tuple[np.ndarray, list[Fold]]
# Permutations may leave a training part with one label; so many in a row mean that most of them do.
TRIES = 100


def grouped_folds(
    labels: Int[np.ndarray, " n"], groups: np.ndarray, folds: int, seed: int, *, warned: bool = False
) -> list[Fold]:
    """Stratified folds that keep groups whole. warned: few groups have been warned about already.

    Raises DataError: fewer groups than folds, or a class that one fold would not see. Warns below 20 groups.
    """
    count = len(set(groups.astype(str)))
    for value in (0, 1):
        holding = len(set(groups[labels == value].astype(str)))
        if holding < 2:
            raise DataError(
                f"Label {value} occurs in {holding} group of {count}; at least 2 groups must hold each label."
            )
    if folds < 2:
        raise DataError(f"folds={folds}: at least 2 folds are needed.")
    if count < folds:
        raise DataError(f"{count} groups cannot make {folds} folds; give more groups, or folds={count} or less.")
    if not warned:
        warn_few(groups, stacklevel=4)
    plan = _stratified(labels, groups, folds, seed)
    if not _both_labels(labels, plan):
        raise DataError(f"{folds} folds leave a training part with one label; use fewer folds.")
    return plan


def warn_few(groups: np.ndarray, *, stacklevel: int = 3) -> None:
    """Warn where groups are too few for a bootstrap over them."""
    count = len(set(groups.astype(str)))
    if count < FEW_GROUPS:
        warnings.warn(
            f"Only {count} groups: bootstrap intervals are too narrow below {FEW_GROUPS}; go by the permutation p.",
            stacklevel=stacklevel,
        )


def permuted_folds(
    labels: Int[np.ndarray, " n"], groups: np.ndarray, plan: list[Fold], folds: int, count: int, seed: int
) -> list[Permuted]:
    """Permuted labels, each with folds stratified by *them*, as the real folds are by the real labels.

    Where groups have one label each, folds of the real labels would hold permuted ones unevenly, and out-of-fold
    scores would fall below chance for them but not for the real ones: p-values too small (8 groups, ridge: mean AUROC
    .39 instead of .49). Where all groups hold both labels, nothing changes from group to group, nor do the folds.
    """
    if count < 0:
        raise DataError(f"permutations={count}: at least 0 are needed.")
    mixed = all(len(set(labels[groups == group])) == 2 for group in set(groups))
    found: list[Permuted] = []
    for draw in itertools.count(1):
        if len(found) == count:
            break
        if draw > TRIES * count:
            raise DataError(f"Permuted labels seldom leave both in every training part; use fewer than {folds} folds.")
        shuffled = permute_labels(labels, groups, seed + draw)
        own = plan if mixed else _stratified(shuffled, groups, folds, seed)
        if _both_labels(shuffled, own):
            found.append((shuffled, own))
    return found


def _stratified(labels: Int[np.ndarray, " n"], groups: np.ndarray, folds: int, seed: int) -> list[Fold]:
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        plan = list(splitter.split(np.zeros(len(labels)), labels, groups.astype(str)))
    return [fold for fold in plan if len(fold[1])]


def _both_labels(labels: Int[np.ndarray, " n"], plan: Sequence[Fold]) -> bool:
    return all(len(set(labels[train])) == 2 for train, _ in plan)


def cross_fit(
    X: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    plan: Sequence[Fold],
    probes: Sequence[str | Probe],
) -> list[list[Probe]]:
    """Each probe fitted on the training rows of each fold; those of one kin together."""
    fitted: list[list[Probe]] = [[] for _ in probes]
    for train, _ in plan:
        made = [make(probe) for probe in probes]
        fit_together(made, X[train], labels[train])
        for one, kept in zip(made, fitted, strict=True):
            kept.append(one)
    return fitted


def cross_scores(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], plan: Sequence[Fold], probe: str | Probe
) -> Float[np.ndarray, " n"]:
    """Out-of-fold scores of one probe."""
    return cross_scores_of(X, labels, plan, [probe])[0]


def cross_scores_of(
    X: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    plan: Sequence[Fold],
    probes: Sequence[str | Probe],
) -> Float[np.ndarray, "probes n"]:
    """Out-of-fold scores of several probes."""
    return np.stack([out_of_fold(X, plan, fitted) for fitted in cross_fit(X, labels, plan, probes)])


def out_of_fold(
    X: Float[np.ndarray, "n ..."], plan: Sequence[Fold], fitted: Sequence[Probe]
) -> Float[np.ndarray, " n"]:
    """Each row's score by the probe that was not fitted on it."""
    scores = np.full(len(X), np.nan)
    for (_, test), probe in zip(plan, fitted, strict=True):
        scores[test] = probe.decision_function(X[test])
    return scores
