"""What every linear probe shares: a scikit-learn classifier whose score is `coef · h + intercept`."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lens.errors import DataError, available


class LinearProbe(ClassifierMixin, BaseEstimator):
    """Base of the linear probes. A subclass implements `_solve(X, positive, weight)`.

    After `fit`: `classes_` (two), `coef_` [1, d], `intercept_` [1]. A score above 0 means "more of
    `classes_[1]`"; that polarity is set by the labels and never flipped afterwards.
    """

    classes_: np.ndarray
    coef_: Float[np.ndarray, "1 d"]
    intercept_: Float[np.ndarray, " 1"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearProbe":
        """Fit on `X` [n, d] and two classes `y` [n]. Raises DataError where y has not exactly two classes."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            raise DataError(f"A probe needs two classes; the labels hold {available(self.classes_)}.")
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        if weight.shape != y.shape:
            raise DataError(f"{len(y)} rows need as many sample weights; given: shape {list(weight.shape)}.")
        coef, intercept = self._solve(X, y == self.classes_[1], weight)
        self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
        return self

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        raise NotImplementedError

    def decision_function(self, X: Any) -> Float[np.ndarray, " n"]:
        """Scores `coef · h + intercept`, shape [n]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return (X @ self.coef_[0] + self.intercept_[0]).astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """The class on whose side of 0 the score lies, shape [n]."""
        check_is_fitted(self)
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


class LogOdds:
    """For probes whose score is the log-odds of `classes_[1]`."""

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n 2"]:
        """Probabilities of both classes, shape [n, 2]."""
        high = special.expit(self.decision_function(X))  # type: ignore[attr-defined]
        return np.stack([1 - high, high], axis=1)
