"""Logistic regression with an L2 penalty.

    minimise  C · Σᵢ wᵢ log(1 + exp(−sᵢ (v · zᵢ + b)))  +  ‖v‖² / 2,      z = (h − mean) / std,  s = ±1

Features are standardised on the training rows (as is common for residual streams, where a few coordinates have
huge variance; `standardise=False` leaves them); the solution is returned in the original coordinates, so
`coef_` is a direction in the residual stream.

Solved for by Newton's method, for all penalties of a sweep at once (`probes.logistic_path`).

Source: Alain & Bengio, Understanding intermediate layers using linear classifier probes (2016), for the use;
scikit-learn's LogisticRegression (Pedregosa et al., 2011) minimises the same.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import validate_data

from lens.errors import DataError
from probes.base import LinearProbe, LogOdds, Probe, Solution
from probes.logistic_path import check_strength, solve_path
from probes.standardise import standardised


class Logistic(LogOdds, LinearProbe):
    """L2-penalised logistic regression. C: inverse strength of the penalty."""

    def __init__(self, C: float = 1.0, *, standardise: bool = True) -> None:
        self.C = C
        self.standardise = standardise

    def fit_soft(self, X: Any, probability: Any, sample_weight: Any = None) -> "Logistic":
        """Fit on probabilities of class 1, [n] from 0 to 1: the loss of a row is its expectation over its label."""
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        q = np.asarray(probability, dtype=float)
        if q.shape != (len(X),) or not ((q >= 0) & (q <= 1)).all():
            raise DataError(f"{len(X)} rows need as many probabilities from 0 to 1; given: {q!r:.80}.")
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        y = np.repeat([1, 0], len(X))
        both = np.concatenate([weight * q, weight * (1 - q)])
        kept = both > 0
        self.fit(np.vstack([X, X])[kept], y[kept], both[kept])
        return self

    def check_parameters(self) -> None:
        check_strength(self.C)

    def _solve(self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]) -> Solution:
        return self._solve_together([self], X, positive, weight)[0]

    def _kin(self) -> Hashable:
        return "logistic", self.standardise

    @classmethod
    def _solve_together(
        cls,
        probes: Sequence[Probe],
        X: Float[np.ndarray, "n d"],
        positive: np.ndarray,
        weight: Float[np.ndarray, " n"],
    ) -> list[Solution]:
        mine = [probe for probe in probes if isinstance(probe, Logistic)]
        if mine[0].standardise:
            Z, center, spread = standardised(X, weight)
        else:
            Z, center, spread = X.astype(np.float64), np.zeros(X.shape[1]), np.ones(X.shape[1])
        solved = solve_path(Z, np.where(positive, 1.0, -1.0), weight, [probe.C for probe in mine])
        return [(coef / spread, intercept - float((coef / spread) @ center)) for coef, intercept in solved]
