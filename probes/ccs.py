"""Contrast-consistent search: a direction along which two completions of one question have opposite probabilities.

    minimise over v, b    1/m Σᵢ (pᵢ + qᵢ − 1)² + min(pᵢ, qᵢ)²  +  alpha ‖v‖² / 2

    pᵢ = σ(v · x̂ᵢ + b),   qᵢ = σ(v · ŷᵢ + b),   x̂ = (x − mean of x) / s,   ŷ = (y − mean of y) / s

x, y: activations of the two completions (`yes`, `no`) of question i; s: the root mean square of a coordinate after
centring. The first term asks that the two probabilities add up to one, the second that one of them is small. No label
enters but to choose the sign. As each completion is centred by its own mean, v is kept orthogonal to the difference of
these means, so that one linear score serves rows of either completion.

It finds *a* property in which the completions differ consistently; whichever is most pronounced, not the one that was
meant (Farquhar et al., 2023). Hence the labels' sign is no evidence that it is truth: compare with a labelled probe.

Source: Burns et al., Discovering Latent Knowledge in Language Models Without Supervision (2022). The penalty stands for
their weight decay.
"""

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

from lens.errors import DataError
from probes.base import LinearProbe, LogOdds


class Ccs(LogOdds, LinearProbe):
    """Contrast-consistent search. Rows 2i and 2i + 1 are the two completions of one question, each completion always
    at the same place of its pair; of the labels (is this row true?) one of each pair is 1.

    alpha: strength of the penalty. restarts: random starts, of which the lowest loss, `loss_`, is kept.

    As a scikit-learn estimator it depends on the order of its rows, which may be selected by pairs only (folds whose
    groups hold whole pairs do).
    """

    loss_: float

    def __init__(self, alpha: float = 0.01, *, restarts: int = 10, seed: int = 0) -> None:
        self.alpha = alpha
        self.restarts = restarts
        self.seed = seed

    def check_parameters(self) -> None:
        if self.alpha <= 0 or self.restarts < 1:
            raise DataError(f"alpha={self.alpha}, restarts={self.restarts}: a penalty above 0 and a start are needed.")

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        if len(X) % 2:
            raise DataError(f"Contrast pairs are rows 2i and 2i + 1; given: {len(X)} rows.")
        same = positive[0::2] == positive[1::2]
        if same.any():
            raise DataError(
                f"Each contrast pair has one row of each label; both of pair {same.argmax()} have the same."
            )
        if len(set(positive[0::2])) == 1:
            raise DataError(
                "The first completion of every pair has the same label: completion and label cannot be told apart, and "
                "centring each completion removes both. Let the true one come first in some pairs and second in others."
            )
        share = weight[0::2] + weight[1::2]
        share = share / share.sum()
        pairs = np.stack([X[0::2], X[1::2]]).astype(np.float64)
        means = np.einsum("p,cpd->cd", share, pairs)
        centred = pairs - means[:, None]
        apart = means[1] - means[0]
        if apart @ apart > 0:
            centred = centred - (centred @ apart)[..., None] * (apart / (apart @ apart))
        scale = float(np.sqrt(np.mean(centred**2)))
        if scale <= np.finfo(float).eps * np.sqrt(np.mean(pairs**2)) * len(X):
            raise DataError("The completions do not vary from pair to pair: there is nothing to search in.")
        # A penalised solution lies in the span of the rows.
        _, sizes, basis = np.linalg.svd(centred.reshape(-1, X.shape[1]) / scale, full_matrices=False)
        basis = basis[sizes > sizes[0] * 1e-10]
        features = centred / scale @ basis.T
        rng = np.random.default_rng(self.seed)
        found: list[optimize.OptimizeResult] = []
        for _ in range(self.restarts):
            start = rng.standard_normal(features.shape[2] + 1)
            start = start / np.linalg.norm(start)
            found.append(optimize.minimize(_loss, start, (features, share, self.alpha), "L-BFGS-B", jac=True))
        best = min(found, key=lambda one: one.fun)
        self.loss_ = float(best.fun)
        coef = best.x[:-1] @ basis / scale
        intercept = float(best.x[-1] - coef @ means.mean(axis=0))
        sign = 1.0 if np.mean((X @ coef)[positive]) >= np.mean((X @ coef)[~positive]) else -1.0
        return sign * coef, sign * intercept


def _loss(
    point: Float[np.ndarray, " k"], features: Float[np.ndarray, "2 m r"], share: Float[np.ndarray, " m"], alpha: float
) -> tuple[float, Float[np.ndarray, " k"]]:
    """The loss and its gradient."""
    v, b = point[:-1], point[-1]
    both = special.expit(features @ v + b)
    surplus, smaller = both.sum(axis=0) - 1, both.argmin(axis=0)
    least = both.min(axis=0)
    value = share @ (surplus**2 + least**2) + alpha / 2 * v @ v
    slope = 2 * np.stack([surplus, surplus])
    slope[smaller, np.arange(len(least))] += 2 * least
    slope = slope * both * (1 - both) * share
    return float(value), np.append(np.einsum("cm,cmr->r", slope, features) + alpha * v, slope.sum())
