"""k-sparse probe: logistic regression on the k coordinates whose class means lie furthest apart.

    S = the k coordinates j with the largest |mean of zⱼ in class 1 − mean of zⱼ in class 0|,     z = (h − mean) / std
    minimise over v, b    C · Σᵢ log(1 + exp(−sᵢ (v · zᵢS + b)))  +  ‖v‖² / 2,                    s = ±1

Coordinates are chosen on the rows that are fitted, so that in a sweep each fold chooses its own. How the AUROC grows
with k says whether a behaviour is read from single coordinates or from many: in the basis of neurons (`bridge` hook
names) a question of its own, in the residual stream, which has no privileged basis, mostly one of outlier coordinates.

Source: Gurnee et al., Finding Neurons in a Haystack: Case Studies with Sparse Probing (2023), by TransformerLens'
`fit_sparse_probe`, which is imported when a probe is first fitted.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from lens.errors import DataError, available
from probes.base import LinearProbe, LogOdds
from probes.logistic_path import check_strength
from probes.standardise import standardised


class KSparse(LogOdds, LinearProbe):
    """Logistic regression on k coordinates, chosen by the difference of class means.

    k: how many; `coef_` has that many entries that are not 0 (fewer where a chosen coordinate is constant), listed in
    `support_`, the furthest apart first. C: inverse strength of the penalty, as of `Logistic`. standardise: choose and
    fit on standardised coordinates; otherwise those of large variance are favoured.

    Raises DataError: k out of range, a class of one row, rows of different weight (TransformerLens' probe takes none),
    or no convergence.
    """

    support_: Int[np.ndarray, " k"]

    def __init__(self, k: int = 8, *, C: float = 1.0, standardise: bool = True) -> None:
        self.k = k
        self.C = C
        self.standardise = standardise

    def check_parameters(self) -> None:
        check_strength(self.C)

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        from transformer_lens.tools.analysis.sparse_probing import SparseProbeConvergenceError, fit_sparse_probe

        self._check(X, positive, weight)
        if self.standardise:
            Z, center, spread = standardised(X, weight)
        else:
            Z, center, spread = X.astype(np.float64), np.zeros(X.shape[1]), np.ones(X.shape[1])
        # It always holds rows out: two rows of a group of their own, added for that, so that it fits on all of ours.
        sample = [int(positive.argmin()), int(positive.argmax())]
        try:
            found = fit_sparse_probe(
                torch.from_numpy(np.vstack([Z, Z[sample]])),
                torch.from_numpy(np.append(positive, [False, True])),
                k=self.k,
                test_fraction=0.5 / len(X),
                groups=torch.tensor([0] * len(X) + [1, 1]),
                class_weight=None,
                l2_strength=1 / (self.C * len(X)),
            )
        except SparseProbeConvergenceError as error:
            raise DataError(f"k={self.k}, C={self.C}: {error}. A smaller C converges more easily.") from error
        self.support_ = found.selected_features.numpy()
        coef = np.zeros(X.shape[1])
        coef[self.support_] = found.coefficients.numpy() / spread[self.support_]
        return coef, float(found.intercept) - float(coef @ center)

    def _check(self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]) -> None:
        if not 1 <= self.k <= X.shape[1]:
            raise DataError(f"k={self.k} of the coordinates; available: 1 to {X.shape[1]} (n_features={X.shape[1]}).")
        count = np.bincount(positive, minlength=2)
        if count.min() < 2:
            raise DataError(f"A k-sparse probe needs two rows of each class; given: {available(count)}.")
        if len(set(weight)) > 1:
            raise DataError(
                f"A k-sparse probe takes rows of equal weight; given: weights from {weight.min():g} to "
                f"{weight.max():g}. Repeat rows instead."
            )
