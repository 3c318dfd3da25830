"""Ridge: least squares on ±1 with an L2 penalty.

    minimise  Σᵢ wᵢ (sᵢ − v · hᵢ − b)² + alpha ‖v‖²,      s = ±1

From the moments, with δ = μ₁ − μ₀, m = n₁n₀/n and the scatter within the classes S:

    v = 2m (S + m δδᵀ + alpha I)⁻¹ δ = 2m u / (1 + m δ · u),    u = (S + alpha I)⁻¹ δ      (Sherman & Morrison)

so its direction is that of linear discriminant analysis with a penalty instead of a shrinkage.

Source: Hoerl & Kennard (1970); as scikit-learn's RidgeClassifier.
"""

import numpy as np
from jaxtyping import Float

from lens.errors import DataError
from probes.moment_probe import MomentProbe, TwoClasses


class Ridge(MomentProbe):
    """Ridge regression on ±1, as a classifier. alpha: strength of the penalty, in the units of the scatter."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def check_parameters(self) -> None:
        if self.alpha < 0:
            raise DataError(f"alpha={self.alpha}: a penalty is at least 0.")

    def _from_classes(self, known: TwoClasses) -> tuple[Float[np.ndarray, " d"], float]:
        low, high = known.weight
        m = low * high / known.total
        u = known.within.solve(known.difference, self.alpha)
        coef = 2 * m * u / (1 + m * known.difference @ u)
        mean = (low * known.mean[0] + high * known.mean[1]) / known.total
        return coef, float((high - low) / known.total - coef @ mean)
