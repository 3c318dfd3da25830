"""Refit: what would be read if the contexts of the cues were others: folds, layers and directions made anew for each.

    K = X Xᵀ            v = Xᵀ a, so that X v = K a          a: ±1 / rows of a cell, in the rows that are fitted on

Scores that were fitted on the real contexts know them: held fixed while contexts are permuted, they beat chance too
often. As many draws have to be fitted as there are arrangements, times folds,
times layers; along K a fit is one product, for all layers and folds of a draw at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from lens.errors import DataError
from steering.studies.evaluation_awareness.reading import TIE, Labels, inside, plan_of, relabelled

# Fits are dearer than the statistics that are permuted elsewhere.
REFITS = 199


@dataclass(frozen=True, eq=False)
class Refit:
    """States, as products of every two rows [layers, n, n], with the format and the cue of each row."""

    products: Float[np.ndarray, "layers n n"]
    form: Int[np.ndarray, " n"]
    cues: np.ndarray
    seed: int

    @classmethod
    def of(cls, arrays: Sequence[Float[np.ndarray, "n d"]], form: np.ndarray, cues: np.ndarray, seed: int) -> "Refit":
        # Scores are relative to the middle of the cells: without the mean they are the same, to more digits.
        centred = [X - X.mean(axis=0) for X in arrays]
        return cls(np.stack([X @ X.T for X in centred]), np.unique(form, return_inverse=True)[1], cues, seed)

    def aurocs(self, labels: Labels) -> Float[np.ndarray, " draws"]:
        """AUROC within formats of the contexts there are, then of permuted ones (all arrangements where they are few),
        without those that leave no format with both contexts to learn from: whether they do is seen in the labels."""
        first, *others = relabelled(labels, self.cues, self.seed, draws=REFITS)
        found = [self.auroc(first)]
        for one in others:
            try:
                found.append(self.auroc(one))
            except DataError:
                continue
        return np.array(found)

    def auroc(self, labels: Labels) -> float:
        """Of out-of-fold scores at the layer that each fold chooses inside its training cues, as `reading.nested`.
        Raises DataError: too few cues, or no format with both contexts in a training part."""
        score = np.full(len(labels), np.nan)
        for train, test in plan_of(labels, self.cues, self.seed):
            known, cues = labels[train], self.cues[train]
            within = inside(known, cues, self.seed)
            fitted = self._scored(labels, [train, *(train[part] for part, _ in within)])
            held = np.full((len(self.products), len(labels)), np.nan)
            for at, (_, part) in enumerate(within, start=1):
                held[:, train[part]] = fitted[:, train[part], at]
            found = self._within(labels, held[:, train], train)
            score[test] = fitted[int(np.flatnonzero(found > found.max() - TIE)[0]), test, 0]
        return float(self._within(labels, score[None], np.arange(len(labels)))[0])

    def _scored(self, labels: Labels, parts: list[np.ndarray]) -> Float[np.ndarray, "layers n parts"]:
        """Scores of every row by the directions fitted on each part."""
        cell, cells = 2 * self.form + labels, 2 * (int(self.form.max()) + 1)
        inside = np.zeros((len(parts), len(labels)), dtype=bool)
        for at, part in enumerate(parts):
            inside[at, part] = True
        held = inside[:, :, None] & (cell[:, None] == np.arange(cells))
        count = held.sum(axis=1)
        both = (count.reshape(len(parts), -1, 2) > 0).all(axis=2)
        if not both.any(axis=1).all():
            raise DataError("No format holds both contexts: they cannot be told apart.")
        # [parts, n]: each row's part in the mean of its cell, where the format counts.
        share = np.take_along_axis(np.repeat(both, 2, axis=1) / np.maximum(count, 1), cell[None], axis=1) * inside
        along = self.products @ (share * (2 * labels - 1) / both.sum(axis=1, keepdims=True)).T
        middle = np.einsum("pn,lnp->lp", share / (2 * both.sum(axis=1, keepdims=True)), along)
        means = np.einsum("pn,pnc,lnp->lpc", share, held, along)
        rest = along - np.take_along_axis(means, np.broadcast_to(cell, (*means.shape[:2], len(cell))), axis=2).swapaxes(
            1, 2
        )
        counted = (share > 0).T
        spread = np.sqrt((rest**2 * counted).sum(axis=1) / counted.sum(axis=0))
        return np.asarray((along - middle[:, None]) / np.where(spread > 0, spread, 1.0)[:, None])

    def _within(
        self, labels: Labels, scores: Float[np.ndarray, "layers m"], rows: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, " layers"]:
        """`probes.metrics.auroc_within` of several scores at once."""
        won, pairs = np.zeros(len(scores)), 0
        for form in np.unique(self.form[rows]):
            here = self.form[rows] == form
            ones = labels[rows][here] == 1
            size = int(ones.sum()) * int((~ones).sum())
            if size:
                ranks = rankdata(scores[:, here], axis=1)[:, ones].sum(axis=1)
                won += ranks - ones.sum() * (ones.sum() + 1) / 2
                pairs += size
        return won / pairs


def least(labels: Labels, cues: np.ndarray) -> float:
    """The lowest p that so many cues can give: contexts exchanged throughout are read as well as they are."""
    sides = [len(set(cues[labels == c])) for c in (0, 1)]
    ways = comb(sum(sides), sides[0])
    return max((2 if sides[0] == sides[1] else 1) / ways, 1 / (REFITS + 1))
