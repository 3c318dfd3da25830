"""Probes that need no more than the counts, means and covariances of the two classes."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from lens.class_moments import ClassMoments
from lens.errors import DataError
from probes.base import LinearProbe, Probe, Solution
from probes.scatter import Scatter


@dataclass(frozen=True)
class TwoClasses:
    """What is known of class 0 and class 1: weight (number of rows), mean, and the scatter around their own means."""

    weight: tuple[float, float]
    mean: Float[np.ndarray, "2 d"]
    make_within: Callable[[], Scatter]

    @cached_property
    def within(self) -> Scatter:
        """`Σ_c Σ_{x in c} w (x − mean_c)(x − mean_c)ᵀ`, made when asked for: a difference of means needs none."""
        return self.make_within()

    @property
    def difference(self) -> Float[np.ndarray, " d"]:
        return self.mean[1] - self.mean[0]

    @property
    def middle(self) -> Float[np.ndarray, " d"]:
        return self.mean.mean(axis=0)

    @property
    def total(self) -> float:
        return sum(self.weight)

    def with_between(self) -> Scatter:
        """The scatter of all rows around their common mean: `within + n₁n₀/n δδᵀ`."""
        apart = (self.weight[0] * self.weight[1] / self.total) ** 0.5 * self.difference
        return self.within.plus(apart)


class MomentProbe(LinearProbe):
    """Base of the probes that `fit` on rows or `fit_moments`. A subclass implements `_from_classes(known)`."""

    def _kin(self) -> Hashable:
        return MomentProbe

    @classmethod
    def _solve_together(
        cls,
        probes: Sequence[Probe],
        X: Float[np.ndarray, "n d"],
        positive: np.ndarray,
        weight: Float[np.ndarray, " n"],
    ) -> list[Solution]:
        X = X.astype(np.float64)
        parts = [positive == bool(number) for number in (0, 1)]
        totals = [float(weight[part].sum()) for part in parts]
        mean = np.stack([np.average(X[part], axis=0, weights=weight[part]) for part in parts])

        def within() -> Scatter:
            return Scatter(rows=(X - mean[positive.astype(int)]) * np.sqrt(weight)[:, None])

        known = TwoClasses((totals[0], totals[1]), mean, within)
        return [probe._from_classes(known) for probe in probes if isinstance(probe, MomentProbe)]

    def fit_moments(self, moments: ClassMoments) -> "MomentProbe":
        """Fit on the moments of two classes; the second one is what the score means.

        Raises DataError: another number of classes, or one without rows.
        """
        self.check_parameters()
        count = moments.count.tolist()
        if len(count) != 2 or min(count) == 0:
            raise DataError(f"A probe needs two classes with rows; the moments have {count}.")
        known = TwoClasses(
            (float(count[0]), float(count[1])),
            moments.mean.numpy(),
            lambda: Scatter(matrix=moments.scatter.sum(dim=0).numpy()),
        )
        coef, intercept = self._from_classes(known)
        self.classes_ = np.array([0, 1])
        self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
        self.n_features_in_ = len(coef)
        return self

    def _from_classes(self, known: TwoClasses) -> Solution:
        raise NotImplementedError
