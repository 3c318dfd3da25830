"""What every probe shares: a scikit-learn classifier with a score; of a linear one it is `coef · h + intercept`."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lens.errors import DataError, available

Solution = tuple[Float[np.ndarray, " d"], float]


class Probe(ClassifierMixin, BaseEstimator):
    """Base of the probes. A subclass implements `_solve(X, positive, weight)`, whose result `_keep` sets, and
    `_scores(X)`.

    A score above 0 means "more of `classes_[1]`"; that polarity is set by the labels and never flipped afterwards.
    """

    classes_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Probe":
        """Fit on `X` [n, d] and two classes `y` [n]. Raises DataError where y has not exactly two classes."""
        fit_together([self], X, y, sample_weight)
        return self

    def check_parameters(self) -> None:
        """Raises DataError: a parameter that no rows could be fitted with. Asked before long work, and by `fit`."""

    def _solve(self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]) -> Any:
        raise NotImplementedError

    def _keep(self, solution: Any) -> None:
        raise NotImplementedError

    def _scores(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        raise NotImplementedError

    def _kin(self) -> Hashable:
        """Probes of equal kin, which is never None, are solved for together by `_solve_together`."""
        return None

    @classmethod
    def _solve_together(
        cls,
        probes: "Sequence[Probe]",
        X: Float[np.ndarray, "n d"],
        positive: np.ndarray,
        weight: Float[np.ndarray, " n"],
    ) -> list[Any]:
        """One solution per probe; all are of one kin."""
        return [probe._solve(X, positive, weight) for probe in probes]

    def decision_function(self, X: Any) -> Float[np.ndarray, " n"]:
        """Scores, shape [n]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self._scores(X).astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """The class on whose side of 0 the score lies, shape [n]."""
        check_is_fitted(self)
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


class LinearProbe(Probe):
    """Base of the linear probes, whose score is `coef · h + intercept`. A subclass implements `_solve`.

    After `fit`: `classes_` (two), `coef_` [1, d], `intercept_` [1].
    """

    coef_: Float[np.ndarray, "1 d"]
    intercept_: Float[np.ndarray, " 1"]

    def _keep(self, solution: Solution) -> None:
        self.coef_, self.intercept_ = solution[0][None, :], np.array([solution[1]])

    def _scores(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        return X @ self.coef_[0] + self.intercept_[0]


def fit_together(probes: Sequence[Probe], X: Any, y: Any, sample_weight: Any = None) -> None:
    """Fit several probes on the same rows; those of one kin share what they have in common.

    Raises DataError: not exactly two classes in y, or a parameter out of range.
    """
    first = probes[0]
    for probe in probes:
        probe.check_parameters()
    X, y = validate_data(first, X, y, dtype=(np.float64, np.float32))
    classes, weight = two_classes(y, sample_weight)
    for members in families(probes):
        group = [probes[number] for number in members]
        solutions = group[0]._solve_together(group, X, y == classes[1], weight)
        for probe, solution in zip(group, solutions, strict=True):
            probe.classes_ = classes
            probe._keep(solution)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(first, name):
                    setattr(probe, name, getattr(first, name))


def two_classes(y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray, Float[np.ndarray, " n"]]:
    """The two classes of `y`, and the weights of its rows, 1 unless given. Raises DataError where there are not exactly
    two, or one has no weight."""
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) != 2:
        raise DataError(f"A probe needs two classes; the labels hold {available(classes)}.")
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    if weight.shape != y.shape:
        raise DataError(f"{len(y)} rows need as many sample weights; given: shape {list(weight.shape)}.")
    totals = [float(weight[y == one].sum()) for one in classes]
    if min(totals) <= 0:
        raise DataError(f"Both classes need weight; given: {totals[0]:g} and {totals[1]:g}.")
    return classes, weight


def families(probes: Sequence[Probe]) -> list[list[int]]:
    """Numbers of the probes that are of one kin, family by family."""
    found: dict[Hashable, list[int]] = {}
    for number, probe in enumerate(probes):
        kin = probe._kin()
        found.setdefault(("alone", number) if kin is None else kin, []).append(number)
    return list(found.values())


class LogOdds:
    """For probes whose score is the log-odds of `classes_[1]`."""

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n 2"]:
        """Probabilities of both classes, shape [n, 2]."""
        high = special.expit(self.decision_function(X))  # type: ignore[attr-defined]
        return np.stack([1 - high, high], axis=1)
