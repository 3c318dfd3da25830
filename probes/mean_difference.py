"""Difference of means.

    w = μ₁ − μ₀          score(h) = w · (h − (μ₁ + μ₀) / 2)

The direction from the mean of class 0 to the mean of class 1, cut halfway. The optimal linear rule where both
classes are Gaussian with the same isotropic covariance; often the better *steering* direction elsewhere, since
it is what separates the classes on average rather than what tells them apart most cheaply.

Source: Marks & Tegmark, The Geometry of Truth (2023), "mass-mean" without the covariance; Rimsky et al.,
Steering Llama 2 via Contrastive Activation Addition (2023).
"""

import numpy as np
from jaxtyping import Float

from probes.base import LinearProbe


class MeanDifference(LinearProbe):
    """Difference of class means, as a scikit-learn classifier.

    >>> import numpy as np
    >>> MeanDifference().fit(np.array([[0.0], [2.0]]), [0, 1]).decision_function(np.array([[1.0], [2.0]]))
    array([0., 2.])
    """

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        high = np.average(X[positive], axis=0, weights=weight[positive])
        low = np.average(X[~positive], axis=0, weights=weight[~positive])
        difference = high - low
        return difference, float(-difference @ (high + low) / 2)
