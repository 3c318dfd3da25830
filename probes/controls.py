"""Baselines a probe has to beat: random directions, and the text alone."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from probes.metrics import auroc

Fold = tuple[np.ndarray, np.ndarray]


def bag_of_words() -> Pipeline:
    """TF-IDF of words and L2 logistic regression: what the words alone give away, order ignored."""
    words = TfidfVectorizer(token_pattern=r"(?u)\S+", sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))


def bag_of_words_scores(
    texts: Sequence[str], labels: Int[np.ndarray, " n"], folds: Sequence[Fold]
) -> Float[np.ndarray, " n"]:
    """Out-of-fold scores of the bag of words."""
    array, scores = np.array(texts, dtype=object), np.full(len(texts), np.nan)
    for train, test in folds:
        scores[test] = bag_of_words().fit(array[train], labels[train]).decision_function(array[test])
    return scores


def lengths(texts: Sequence[str]) -> Float[np.ndarray, " n"]:
    """Number of words of each text."""
    return np.array([len(text.split()) for text in texts], dtype=float)


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
