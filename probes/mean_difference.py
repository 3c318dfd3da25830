"""Difference of means, and its whitened form (mass-mean).

    δ = μ₁ − μ₀        w = δ,    or whitened  w = Σ⁺ δ        score(h) = w · (h − (μ₁ + μ₀) / 2)

Σ: covariance within the classes (Σ⁺ its pseudo-inverse). The direction from the mean of class 0 to the mean of class 1,
cut halfway. Unwhitened it is the optimal linear rule where both classes are Gaussian with the same isotropic
covariance, and often the better *steering* direction elsewhere, since it is what separates the classes on average
rather than what tells them apart most cheaply. Whitened it is the optimal rule for any covariance that both share.

Source: Marks & Tegmark, The Geometry of Truth (2023), for both; Rimsky et al., Steering Llama 2 via Contrastive
Activation Addition (2023), for steering.
"""

import numpy as np
from jaxtyping import Float

from probes.moment_probe import MomentProbe, TwoClasses


class MeanDifference(MomentProbe):
    """Difference of class means, as a scikit-learn classifier. whiten: multiply by the inverse covariance.

    >>> import numpy as np
    >>> MeanDifference().fit(np.array([[0.0], [2.0]]), [0, 1]).decision_function(np.array([[1.0], [2.0]]))
    array([0., 2.])
    """

    def __init__(self, *, whiten: bool = False) -> None:
        self.whiten = whiten

    def _from_classes(self, known: TwoClasses) -> tuple[Float[np.ndarray, " d"], float]:
        coef = known.difference
        if self.whiten:
            coef = known.total * known.within.solve(coef, 0.0)
        return coef, float(-coef @ known.middle)
