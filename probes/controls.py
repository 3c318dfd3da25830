"""Controls: directions and features that learn nothing, or next to nothing, and that a probe has to beat.

    random direction     v = g                      g ~ N(0, I): the floor of d dimensions
    matched direction    v = Aᵀ g,  so v ~ N(0, Σ)   rows of A: training rows less the mean of their own class
    top components       the best of the first k eigenvectors of the covariance of all training rows
    control task         the probe itself, on labels drawn at random for each group

Σ is the covariance *within* the classes. Of pooled rows it would hold the difference of the classes: its draws would
be near copies of the direction to be tested. Each fixed direction learns its sign, and where there are several the
best one, on the training rows alone, so that choosing is paid for.

Source: Hewitt & Liang, Designing and Interpreting Probes with Control Tasks (2019), for the control task.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedKFold

from lens.text_only import Fold
from probes.base import Probe
from probes.folds import Permuted, cross_scores_of
from probes.metrics import auroc
from probes.scatter import Scatter

# Above this cosine with the probe, matched directions are no longer strangers to it.
CIRCULAR = 0.3
COMPONENTS = 10


def oriented(
    values: Float[np.ndarray, "n m"], labels: Int[np.ndarray, " n"], folds: Sequence[Fold]
) -> Float[np.ndarray, "n m"]:
    """Out-of-fold scores of fixed features whose sign is learned on the training rows."""
    scores = np.full(values.shape, np.nan)
    for train, test in folds:
        scores[test] = _signed(values[train], labels[train], values[test])
    return scores


def _signed(
    known: Float[np.ndarray, "n m"], labels: Int[np.ndarray, " n"], values: Float[np.ndarray, "k m"]
) -> Float[np.ndarray, "k m"]:
    high, low = known[labels == 1].mean(axis=0), known[labels == 0].mean(axis=0)
    return (values - (high + low) / 2) * np.where(high >= low, 1.0, -1.0)


def best_of(
    known: Float[np.ndarray, "n m"], labels: Int[np.ndarray, " n"], values: Float[np.ndarray, "k m"]
) -> Float[np.ndarray, " k"]:
    """Scores by the one feature that tells the training rows apart best, in its standard deviations."""
    chosen = int(np.argmax(np.abs(auroc(labels, known) - 0.5)))
    spread = known[:, chosen].std() or 1.0
    return _signed(known[:, [chosen]], labels, values[:, [chosen]])[:, 0] / spread


def random_directions(width: int, draws: int, seed: int) -> Float[np.ndarray, "d m"]:
    """Isotropic random unit vectors, one per column."""
    vectors = np.random.default_rng(seed).standard_normal((width, draws))
    return vectors / np.linalg.norm(vectors, axis=0)


def within_rows(X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
    """Rows less the mean of their own class."""
    means = np.stack([X[labels == value].mean(axis=0) for value in (0, 1)])
    return X - means[labels]


def matched_directions(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], draws: int, seed: int
) -> Float[np.ndarray, "d m"]:
    """Random directions with the covariance that rows have within their classes, one per column, of equal mean norm."""
    noise = np.random.default_rng(seed).standard_normal((len(X), draws))
    return within_rows(X, labels).T @ noise / np.sqrt(len(X))


def matched_scores(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], folds: Sequence[Fold], *, draws: int, seed: int
) -> Float[np.ndarray, "n m"]:
    """Out-of-fold scores of matched directions, drawn from the covariance within the training rows of each fold."""
    scores = np.full((len(X), draws), np.nan)
    noise = np.random.default_rng(seed).standard_normal((len(X), draws))
    for train, test in folds:
        vectors = within_rows(X[train], labels[train]).T @ noise[train] / np.sqrt(len(train))
        scores[test] = _signed(X[train] @ vectors, labels[train], X[test] @ vectors)
    return scores


def components(X: Float[np.ndarray, "n d"], k: int = COMPONENTS) -> Float[np.ndarray, "d k"]:
    """The first principal components of rows, one per column; fewer than k where the rows span fewer."""
    return Scatter(rows=X - X.mean(axis=0)).eigen()[1][:, :k]


def component_scores(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], folds: Sequence[Fold], *, k: int = COMPONENTS
) -> Float[np.ndarray, " n"]:
    """Out-of-fold scores of the best of the first k components, both found on the training rows."""
    scores = np.zeros(len(X))
    for train, test in folds:
        vectors = components(X[train], k)
        if vectors.shape[1]:
            scores[test] = best_of(X[train] @ vectors, labels[train], X[test] @ vectors)
    return scores


def resemblance(
    X: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], coefs: Float[np.ndarray, "probes d"]
) -> list[float]:
    """|cosine| of each probe with the direction of largest variance within the classes, which matched directions
    favour.

    Above 0.3 they are partial copies of the probe, and the null they make is circular: a strict bound, not chance.
    """
    vectors = Scatter(rows=within_rows(X, labels)).eigen()[1]
    norms = np.linalg.norm(coefs, axis=1)
    if not vectors.shape[1]:
        return [0.0] * len(coefs)
    return [float(abs(vectors[:, 0] @ coef) / norm) if norm else 0.0 for coef, norm in zip(coefs, norms, strict=True)]


def control_tasks(groups: np.ndarray, folds: int, *, draws: int = 3, seed: int) -> list[Permuted]:
    """Labels drawn at random for each group, with folds that split groups: rows of a group are both learned from and
    tested, so that a group is there to be memorised. None where every group is one row."""
    _, member = np.unique(groups.astype(str), return_inverse=True)
    size = int(member.max()) + 1
    if size == len(groups) or size < 2:
        return []
    found = []
    for draw in range(draws):
        labels = np.random.default_rng([seed, draw]).permutation(np.arange(size) % 2)[member]
        parts = min(folds, int(np.bincount(labels).min()))
        if parts >= 2:
            splitter = StratifiedKFold(parts, shuffle=True, random_state=seed + draw)
            found.append((labels, list(splitter.split(labels, labels))))
    return found


def control_task(
    X: Float[np.ndarray, "n d"],
    groups: np.ndarray,
    folds: int,
    probes: Sequence[str | Probe],
    *,
    draws: int = 3,
    seed: int,
) -> list[float]:
    """AUROC of each probe on the labels of `control_tasks`.

    It can only be memorised: what is above 0.5 is what the probe can memorise of single groups, and a probe's
    *selectivity* is its own AUROC less this. nan where there is nothing to memorise.
    """
    found = [
        [float(auroc(labels, score)) for score in cross_scores_of(X, labels, plan, probes)]
        for labels, plan in control_tasks(groups, folds, draws=draws, seed=seed)
    ]
    return np.mean(found, axis=0).tolist() if found else [float("nan")] * len(probes)
