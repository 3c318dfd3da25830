"""Logistic regression with an L2 penalty.

    minimise  C · Σᵢ wᵢ log(1 + exp(−sᵢ (v · zᵢ + b)))  +  ‖v‖² / 2,      z = (h − mean) / std,  s = ±1

Features are standardised on the training rows (as is common for residual streams, where a few coordinates have
huge variance; `standardise=False` leaves them); the solution is returned in the original coordinates, so
`coef_` is a direction in the residual stream.

Source: scikit-learn's LogisticRegression (Pedregosa et al., 2011) does the fitting; Alain & Bengio,
Understanding intermediate layers using linear classifier probes (2016), for the use.
"""

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from probes.base import LinearProbe, LogOdds


class Logistic(LogOdds, LinearProbe):
    """L2-penalised logistic regression. C: inverse strength of the penalty."""

    def __init__(self, C: float = 1.0, *, standardise: bool = True, max_iter: int = 1000) -> None:
        self.C = C
        self.standardise = standardise
        self.max_iter = max_iter

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        center, spread = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if self.standardise:
            center = np.average(X, axis=0, weights=weight)
            spread = np.sqrt(np.average((X - center) ** 2, axis=0, weights=weight))
            spread[spread == 0] = 1.0
        model = LogisticRegression(C=self.C, max_iter=self.max_iter)
        model.fit((X - center) / spread, positive, sample_weight=weight)
        coef = model.coef_[0] / spread
        return coef, float(model.intercept_[0] - coef @ center)
