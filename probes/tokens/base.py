"""What the token-level probes share: a row is a set of tokens, and its score a weighted mean of its tokens' scores.

    score_i = Σ_t a_it (v · h_it + b),      a_it ≥ 0,   Σ_t a_it = 1,   t over the tokens of row i
    minimise  C · Σᵢ wᵢ log(1 + exp(−sᵢ score_i))  +  ‖v‖² / 2  (+ ‖q‖² / 2 where weights have parameters q)

Only the rows have labels, s = ±1. Features are standardised over the training tokens, and what is learned is returned
in the original coordinates. Moving *all* tokens of a row by δ leaves its weights alone and moves its score by v · δ, so
that v is a direction to steer along whatever the weights are.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from lens.errors import DataError
from probes.base import LinearProbe, LogOdds, Solution, two_classes
from probes.logistic_path import check_strength
from probes.tokens.rows import TokenRows

Point = Float[np.ndarray, " p"]
Loss = Callable[[Point], tuple[float, Point]]
# Of the largest slope, per unit of the rows' weight: where a search ends, and above what it has not arrived.
REACHED, MISSED = 1e-6, 1e-4


class UnpooledProbe(LogOdds, LinearProbe):
    """Base of the probes over rows of tokens, `X` `[n, tokens, d]`, nan where a row has no token.

    After `fit`, besides what every probe has (`coef_` and `intercept_` score a single token): `values_` [heads, d],
    whose sum is `coef_`; `loss_`, what was minimised, and `n_iter_`.
    """

    values_: Float[np.ndarray, "heads d"]
    loss_: float
    n_iter_: int
    C: float

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags

    def check_parameters(self) -> None:
        check_strength(self.C)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "UnpooledProbe":
        """Fit on `X` [n, tokens, d] and two classes `y` [n].

        Raises DataError: not exactly two classes, a row without a token, or a token that is not finite. Warns
        (ConvergenceWarning) where the loss had not settled.
        """
        self.check_parameters()
        tokens, y = TokenRows.of(X), column_or_1d(y)
        check_consistent_length(X, y)
        self.classes_, weight = two_classes(y, sample_weight)
        self.n_features_in_ = tokens.values.shape[1]
        scaled, center, scale = tokens.standardised(weight)
        values, intercept = self._search(scaled, y == self.classes_[1], weight, scale)
        self.values_ = values / scale
        self.coef_ = self.values_.sum(axis=0, keepdims=True)
        self.intercept_ = np.array([intercept]) - self.coef_ @ center
        return self

    def _solve(self, X: Any, positive: Any, weight: Any) -> Solution:
        raise DataError(
            f"{self!r} reads every token, and not rows [n, d]: collect with pool='none'; fit with `fit_tokens`, "
            "cross-validate with `sweep_tokens`."
        )

    def _search(
        self,
        tokens: TokenRows,
        positive: Bool[np.ndarray, " n"],
        weight: Float[np.ndarray, " n"],
        scale: Float[np.ndarray, " d"],
    ) -> tuple[Float[np.ndarray, "heads d"], float]:
        """Values and intercept on standardised tokens; sets `loss_`, `n_iter_` and what the weights are made from."""
        raise NotImplementedError

    def _weights(self, tokens: TokenRows) -> Float[np.ndarray, "all heads"]:
        """The weight of each token in its row."""
        raise NotImplementedError

    def _rows(self, X: Any) -> TokenRows:
        check_is_fitted(self)
        tokens = TokenRows.of(X)
        if tokens.values.shape[1] != self.n_features_in_:
            raise DataError(
                f"X has {tokens.values.shape[1]} features; {type(self).__name__} was fitted on {self.n_features_in_}."
            )
        return tokens

    def decision_function(self, X: Any) -> Float[np.ndarray, " n"]:
        """Scores of rows, shape [n]: log-odds of `classes_[1]`."""
        return self.scores_of(self._rows(X))

    def scores_of(self, tokens: TokenRows) -> Float[np.ndarray, " n"]:
        """As `decision_function`, of rows that are packed already."""
        along = tokens.values @ self.values_.T
        return tokens.total(self._weights(tokens) * along).sum(axis=1) + self.intercept_[0]

    def token_scores(self, X: Any) -> Float[np.ndarray, "n tokens"]:
        """`coef · h + intercept`, what a row of this token alone would score; nan where there is no token."""
        tokens = self._rows(X)
        return tokens.padded(tokens.values @ self.coef_[0] + self.intercept_[0])

    def token_weights(self, X: Any) -> Float[np.ndarray, "n tokens"]:
        """Each token's weight in the score of its row, over heads the mean; nan where there is no token."""
        tokens = self._rows(X)
        return tokens.padded(self._weights(tokens).mean(axis=1))

    def pooled(self, X: Any) -> Float[np.ndarray, "n d"]:
        """Rows as this probe sees them, `Σ_t a_it h_it`."""
        tokens = self._rows(X)
        return tokens.total(self._weights(tokens).mean(axis=1, keepdims=True) * tokens.values)


def log_loss(
    score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " n"]]:
    """Σᵢ wᵢ log(1 + exp(−sᵢ score_i)) and its slope in each score."""
    sign = np.where(positive, -1.0, 1.0)
    return float(weight @ np.logaddexp(0, sign * score)), weight * sign * special.expit(sign * score)


def minimise(loss: Loss, start: Point, *, size: float, max_iter: int) -> tuple[Point, float, int]:
    """Where a search by L-BFGS for the lowest loss ends, the loss there, and its steps. size: the order of its slopes.

    Warns (ConvergenceWarning) where it has not arrived.
    """
    options = {"maxiter": max_iter, "maxfun": 20 * max_iter, "ftol": 0.0, "gtol": REACHED * size, "maxcor": 20}
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    steepest = float(np.abs(found.jac).max()) / size
    if steepest > MISSED:
        warnings.warn(
            f"The search ended after {found.nit} steps with a slope of {steepest:.1g} (arrived: {MISSED:.0g}); allow "
            "more with max_iter, or penalise more with a smaller C.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return found.x, float(found.fun), int(found.nit)
