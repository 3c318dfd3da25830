"""Linear discriminant analysis with shrinkage.

    w = Σₐ⁻¹ (μ₁ − μ₀),    b = −w · (μ₁ + μ₀) / 2 + log(n₁ / n₀),    Σₐ = (1 − a) Σ + a (tr Σ / d) I

Σ: covariance within the classes (divided by n). The score is the log-odds of class 1 where both classes are Gaussian
with covariance Σₐ. With as many dimensions as a residual stream has, Σ cannot be inverted without shrinkage. `"oas"`
takes the shrinkage that is optimal for Gaussian rows, with p = tr Σ²/d² and m = tr Σ/d:

    a = min(1, (p + m²) / ((n + 1)(p − m²/d)))

Source: Fisher (1936); Chen et al., Shrinkage Algorithms for MMSE Covariance Estimation (2010), as in scikit-learn.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from lens.errors import DataError
from probes.base import LogOdds
from probes.moment_probe import MomentProbe, TwoClasses


class Lda(LogOdds, MomentProbe):
    """Linear discriminant analysis. shrinkage: a from 0 to 1, or `"oas"`; 0 takes the pseudo-inverse."""

    def __init__(self, shrinkage: float | Literal["oas"] = "oas") -> None:
        self.shrinkage = shrinkage

    def check_parameters(self) -> None:
        if self.shrinkage != "oas" and not 0 <= float(self.shrinkage) <= 1:
            raise DataError(f"shrinkage={self.shrinkage!r}: a number from 0 to 1, or 'oas', is needed.")

    def _from_classes(self, known: TwoClasses) -> tuple[Float[np.ndarray, " d"], float]:
        a = oas(known) if self.shrinkage == "oas" else float(self.shrinkage)
        n, delta = known.total, known.difference
        identity = a * known.within.trace / n / known.within.width
        if identity == 0:
            coef = n * known.within.solve(delta, 0.0)
        elif a == 1:
            coef = delta / identity
        else:
            coef = n / (1 - a) * known.within.solve(delta, identity * n / (1 - a))
        return coef, float(-coef @ known.middle + np.log(known.weight[1] / known.weight[0]))


def oas(known: TwoClasses) -> float:
    """The oracle-approximating shrinkage of the covariance within the classes."""
    n, d = known.total, known.within.width
    p, m = known.within.trace_of_square / n**2 / d**2, known.within.trace / n / d
    apart = (n + 1) * (p - m**2 / d)
    return 1.0 if apart <= 0 else min(1.0, (p + m**2) / apart)
