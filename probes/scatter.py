"""Scatter: a sum of outer products, solved for by whichever of rows and columns are fewer."""

from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy import linalg


class Scatter:
    """`S = AᵀA`, of rows `A` [n, d] or given as `S` [d, d]; float64.

    Solving costs O(min(n, d)³): with fewer rows than columns it goes through the Gram matrix `AAᵀ` (Woodbury),

        (AᵀA + λI)⁻¹ b = (b − Aᵀ (AAᵀ + λI)⁻¹ A b) / λ.
    """

    def __init__(
        self, *, rows: Float[np.ndarray, "n d"] | None = None, matrix: Float[np.ndarray, "d d"] | None = None
    ) -> None:
        if (rows is None) == (matrix is None):
            raise ValueError("Either rows or a matrix is needed.")
        self._rows = rows if rows is not None and len(rows) < rows.shape[1] else None
        if self._rows is None:
            self._matrix = matrix if matrix is not None else rows.T @ rows  # type: ignore[union-attr]

    def plus(self, row: Float[np.ndarray, " d"]) -> "Scatter":
        """`S + row rowᵀ`."""
        if self._rows is not None:
            return Scatter(rows=np.vstack([self._rows, row]))
        return Scatter(matrix=self._matrix + np.outer(row, row))

    @property
    def width(self) -> int:
        return int(self._rows.shape[1] if self._rows is not None else len(self._matrix))

    @cached_property
    def _small(self) -> Float[np.ndarray, "k k"]:
        """`AAᵀ` or `S`: it has the eigenvalues that are not 0."""
        return self._rows @ self._rows.T if self._rows is not None else self._matrix

    @property
    def trace(self) -> float:
        return float(np.trace(self._small))

    @property
    def trace_of_square(self) -> float:
        """`tr(S²)`."""
        return float(np.sum(self._small**2))

    def solve(self, b: Float[np.ndarray, " d"], ridge: float) -> Float[np.ndarray, " d"]:
        """`(S + ridge · I)⁻¹ b`; for ridge 0 the pseudo-inverse (least norm)."""
        if ridge == 0:
            values, vectors = self.eigen()
            return vectors @ ((vectors.T @ b) / values)
        shifted = self._small + ridge * np.eye(len(self._small))
        if self._rows is None:
            return np.asarray(linalg.solve(shifted, b, assume_a="pos"))
        inner = linalg.solve(shifted, self._rows @ b, assume_a="pos")
        return np.asarray((b - self._rows.T @ inner) / ridge)

    def eigen(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "d k"]]:
        """Eigenvalues that are not 0 (up to rounding), largest first, and their unit eigenvectors as columns."""
        values, vectors = linalg.eigh(self._small)
        kept = np.flatnonzero(values > max(values[-1], 0.0) * len(values) * np.finfo(float).eps)[::-1]
        values, vectors = values[kept], vectors[:, kept]
        if self._rows is not None:
            vectors = self._rows.T @ (vectors / np.sqrt(values))
        return values, vectors
