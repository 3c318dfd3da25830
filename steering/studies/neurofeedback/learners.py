"""Learners: what the same labels teach a reader of the activations, and a reader of the words.

    ideal observer      logistic regression on the activations at the axis' site, from the first i labels of an episode
    bag of words        logistic regression on the words, from the same labels
    bag of words, all   the same on the words and labels of all sentences outside the test part

The first is what reading could give, the other two what the text alone gives: a report that is not better than either
of them says nothing of activations.

Source: the ideal observer of Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import special
from sklearn.feature_extraction.text import TfidfVectorizer

from steering.studies.neurofeedback.episodes import Drawn

WORDS_C = 10.0
STEPS, HALVINGS = 60, 25


def learnt(
    X: Float[np.ndarray, "n d"], drawn: Drawn, places: Sequence[int], *, C: float = 1.0
) -> Float[np.ndarray, "episodes places levels"]:
    """Probability of each label at each place by a learner of the shots before it. X: features of all sentences."""
    out = np.empty((len(drawn.index), len(places), drawn.levels))
    for number, place in enumerate(places):
        shown, y = drawn.index[:, :place], drawn.labels[:, :place]
        out[:, number] = predicted(X[shown], y, X[drawn.index[:, place : place + 1]], drawn.levels, C=C)[:, 0]
    return out


def predicted(
    X: Float[np.ndarray, "e n d"],
    y: Int[np.ndarray, "e n"],
    unseen: Float[np.ndarray, "e m d"],
    levels: int,
    *,
    C: float = 1.0,
) -> Float[np.ndarray, "e m levels"]:
    """Probability of each label of unseen rows, for many learners at once: of two by logistic regression, of more by
    one for each against the rest; before two labels were seen, their shares, each counted once more than it was."""
    counts = (y[..., None] == np.arange(levels)).sum(axis=1)
    shares = (counts + 1) / (y.shape[1] + levels)
    out = np.repeat(shares[:, None], unseen.shape[1], axis=1)
    several = (counts > 0).sum(axis=1) > 1
    if not several.any():
        return out
    X, y, unseen, counts = X[several], y[several], unseen[several], counts[several]
    each = np.full((*unseen.shape[:2], levels), 1e-6)
    for level in range(1, 2) if levels == 2 else range(levels):
        known = counts[:, level] > 0
        a, b = logistic_many(X[known] @ X[known].swapaxes(1, 2), np.where(y[known] == level, 1.0, -1.0), C)
        f = (unseen[known] @ X[known].swapaxes(1, 2) @ a[..., None])[..., 0] + b[:, None]
        each[known, :, level] = special.expit(f)
    if levels == 2:
        each[..., 0] = 1 - each[..., 1]
    out[several] = each / each.sum(axis=-1, keepdims=True)
    return out


def logistic_many(
    K: Float[np.ndarray, "e n n"], sign: Float[np.ndarray, "e n"], C: float
) -> tuple[Float[np.ndarray, "e n"], Float[np.ndarray, " e"]]:
    """L2-penalised logistic regressions of as many rows each, by Newton's method with halved steps: v = Zᵀa and b.

        minimise  C Σᵢ log(1 + exp(−sᵢ fᵢ)) + aᵀKa/2,      f = Ka + b,   K = ZZᵀ,   s = ±1 (both in every one)

    The same optimum as `probes.logistic_path`, which takes one at a time.
    """
    e, n = sign.shape
    a, b = np.zeros((e, n)), np.zeros(e)

    def cost(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        Ka = (K @ a[..., None])[..., 0]
        loss = np.logaddexp(0, -sign * (Ka + b[:, None])).sum(axis=1)
        return np.asarray(C * loss + (a * Ka).sum(axis=1) / 2)

    now, matrix = cost(a, b), np.empty((e, n + 1, n + 1))
    for _ in range(STEPS):
        miss = special.expit(-sign * ((K @ a[..., None])[..., 0] + b[:, None]))
        g, D = C * sign * miss, C * miss * (1 - miss)
        matrix[:, :n, :n] = np.eye(n) + D[..., None] * K
        matrix[:, :n, n], matrix[:, n, n] = D, D.sum(axis=1)
        matrix[:, n, :n] = (D[:, None] @ K)[:, 0]
        step = np.linalg.solve(matrix, np.concatenate([g - a, g.sum(axis=1, keepdims=True)], axis=1)[..., None])[..., 0]
        size = np.ones(e)
        for _ in range(HALVINGS):
            then = cost(a + size[:, None] * step[:, :n], b + size * step[:, n])
            worse = then > now + 1e-12 * np.abs(now)
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        size = np.where(then > now + 1e-12 * np.abs(now), 0.0, size)
        a, b = a + size[:, None] * step[:, :n], b + size * step[:, n]
        gained, now = now - cost(a, b), cost(a, b)
        if (gained <= 1e-10 * (1 + np.abs(now))).all():
            break
    return a, b


def words_of(sentences: Sequence[str]) -> Float[np.ndarray, "n words"]:
    """TF-IDF of words: what a bag of words sees of each sentence."""
    made = TfidfVectorizer(token_pattern=r"(?u)\S+", sublinear_tf=True).fit_transform(sentences)
    return np.asarray(made.toarray(), dtype=np.float64)
