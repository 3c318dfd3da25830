"""Baselines a probe has to beat: directions and features that learn nothing but a sign."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from lens.text_only import Fold
from probes.metrics import auroc


def oriented(
    values: Float[np.ndarray, "n m"], labels: Int[np.ndarray, " n"], folds: Sequence[Fold]
) -> Float[np.ndarray, "n m"]:
    """Out-of-fold scores of fixed features whose sign is learned on the training rows."""
    scores = np.full(values.shape, np.nan)
    for train, test in folds:
        high, low = values[train][labels[train] == 1], values[train][labels[train] == 0]
        sign = np.where(high.mean(axis=0) >= low.mean(axis=0), 1.0, -1.0)
        center = (high.mean(axis=0) + low.mean(axis=0)) / 2
        scores[test] = (values[test] - center) * sign
    return scores


def random_directions(width: int, draws: int, seed: int) -> Float[np.ndarray, "d m"]:
    """Isotropic random unit vectors, one per column."""
    vectors = np.random.default_rng(seed).standard_normal((width, draws))
    return vectors / np.linalg.norm(vectors, axis=0)


def random_direction_aurocs(
    X: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    folds: Sequence[Fold],
    *,
    draws: int = 100,
    seed: int = 0,
) -> Float[np.ndarray, " m"]:
    """Out-of-fold AUROC of random directions, each allowed to learn its sign on the training rows."""
    return auroc(labels, oriented(X @ random_directions(X.shape[1], draws, seed), labels, folds))
