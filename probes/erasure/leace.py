"""Least-squares concept erasure, and the projection of the means.

    r(h) = h − L Rᵀ (h − μ),     L = span of the class means' deviations μ_c − μ  [d, k],     R = Σₐ⁻¹ L (Lᵀ Σₐ⁻¹ L)⁻¹

    Leace:             Σₐ = (1 − a) Σ + a (tr Σ / d) I,   a = shrinkage;   for a = 0 the pseudo-inverse of Σ
    MeanProjection:    R = L,  orthonormal;   the limit a = 1

Σ: covariance of all rows; k ≤ classes − 1. As RᵀL = I, the classes of the rows it was fitted on have one mean
afterwards, whatever the shrinkage, and then no linear probe has a lower convex loss than a constant. With a = 0 this is
`h − W⁺ P W (h − μ)`, W = Σ^(-1/2) and P the orthogonal projection on the span of WΣ_hz, z one-hot: of all affine maps
with that property the one that changes h least in mean square, whatever the norm. It moves h along the difference of
means, by what the whitened difference of means reads.

With fewer rows than dimensions, Σ⁺ reads the labels of the rows off their noise: held-out rows are erased less well
than with shrinkage.

Source: Belrose et al., LEACE: Perfect linear concept erasure in closed form (2023), theorems 3.1, 4.2 and 4.3; its
solution in factored form, without Σ^(-1/2). Shrinkage "oas" as in `Lda`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from lens.errors import DataError
from probes.erasure.classes import ROUNDING, Classes
from probes.lda import oas
from probes.moment_probe import TwoClasses

# Squared canonical correlation of class and activations below which a difference of means is rounding.
NO_CORRELATION = 1e-10

Factors = tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "d k"]]


@dataclass(frozen=True)
class Leace:
    """Least-squares concept erasure. shrinkage: a from 0 to 1, or "oas". rounding: of the activations, relative to the
    root mean square of their norm; directions that vary less are left alone (`ROUNDING` fits float32; for a model in
    bfloat16 about 0.01)."""

    shrinkage: float | Literal["oas"] = 0.0
    rounding: float = ROUNDING

    def __post_init__(self) -> None:
        if self.shrinkage != "oas" and not 0 <= self.shrinkage <= 1:
            raise DataError(f"shrinkage={self.shrinkage!r}: a number from 0 to 1, or 'oas', is needed.")

    def factors(self, known: Classes) -> Factors:
        """`L`, orthonormal, and `R`; without columns where the classes have one mean already."""
        values, vectors = known.varying(self.rounding)
        whitened = (vectors / np.sqrt(values)).T @ known.between
        correlations, turned = np.linalg.eigh(whitened.T @ whitened)
        kept = np.flatnonzero(correlations > NO_CORRELATION)[::-1]
        removed, _ = np.linalg.qr(known.between @ turned[:, kept])
        a = self._amount(known)
        spectrum = (1 - a) * values + a * known.scatter.trace / known.scatter.width
        reading = vectors @ ((vectors.T @ removed) / spectrum[:, None])
        return removed, np.linalg.solve(reading.T @ removed, reading.T).T

    def _amount(self, known: Classes) -> float:
        if self.shrinkage != "oas":
            return float(self.shrinkage)
        # All rows as one class: the covariance here is the total one.
        return oas(TwoClasses((float(known.n), 0.0), known.means[:2], lambda: known.scatter))


@dataclass(frozen=True)
class MeanProjection:
    """The orthogonal projection that takes out the span of the class means' deviations; it needs no covariance."""

    def factors(self, known: Classes) -> Factors:
        """`L` twice; without columns where the classes have one mean already."""
        vectors, sizes, _ = np.linalg.svd(known.between, full_matrices=False)
        rounding = np.finfo(float).eps * len(vectors) * np.sqrt(known.n) * np.abs(known.means).max()
        basis = vectors[:, sizes > rounding][:, : len(known.values) - 1]
        return basis, basis
