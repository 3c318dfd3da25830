"""Principal component, and linear artificial tomography (the reading vector of representation engineering).

    Pca:   w = top eigenvector of Σᵢ (hᵢ − μ)(hᵢ − μ)ᵀ
    Lat:   w = top eigenvector of E[(h⁺ − h⁻)(h⁺ − h⁻)ᵀ] over pairs of a row of each class; over all of them

                E = Σ₁ + Σ₀ + δδᵀ,     δ = μ₁ − μ₀

(the principal component of differences whose signs are drawn at random, as published, in the limit of many draws).
The labels choose the sign and the threshold, halfway between the classes' means on w; `Pca` finds its direction without
them. Both find what varies most, which need not be what is asked for: a baseline before it is a method.

Source: Zou et al., Representation Engineering (2023).
"""

import numpy as np
from jaxtyping import Float

from lens.errors import DataError
from probes.base import LinearProbe
from probes.moment_probe import MomentProbe, TwoClasses
from probes.scatter import Scatter


class Pca(MomentProbe):
    """A principal component of all rows. component: which, from 0, by variance."""

    def __init__(self, component: int = 0) -> None:
        self.component = component

    def _from_classes(self, known: TwoClasses) -> tuple[Float[np.ndarray, " d"], float]:
        values, vectors = known.with_between().eigen()
        if not 0 <= self.component < len(values):
            raise DataError(f"component={self.component}: the rows vary in {len(values)} directions, from 0.")
        return oriented(vectors[:, self.component], known.difference, known.middle)


class Lat(LinearProbe):
    """The reading vector of pairs. pairs: `random` takes all pairs of a row of each class, `ordered` the first row of
    each class, the second, and so on (contrastive prompts, without weights)."""

    def __init__(self, pairs: str = "random") -> None:
        self.pairs = pairs

    def check_parameters(self) -> None:
        if self.pairs not in ("random", "ordered"):
            raise DataError(f"pairs={self.pairs!r}; available: random, ordered.")

    def _solve(
        self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " d"], float]:
        low, high = (X[positive == bool(number)].astype(np.float64) for number in (0, 1))
        share = [weight[positive == bool(number)] / weight[positive == bool(number)].sum() for number in (0, 1)]
        means = [of @ rows for of, rows in zip(share, (low, high), strict=True)]
        difference = means[1] - means[0]
        if self.pairs == "ordered":
            if len(low) != len(high) or len(set(weight)) > 1:
                raise DataError(f"Ordered pairs need classes of one size, unweighted; given: {len(low)}, {len(high)}.")
            apart = high - low
        else:
            spread = [np.sqrt(share[k])[:, None] * (rows - means[k]) for k, rows in enumerate((low, high))]
            apart = np.vstack([*spread, difference])
        _, vectors = Scatter(rows=apart).eigen()
        if vectors.shape[1] == 0:
            raise DataError("No pair of rows differs: there is no principal component.")
        return oriented(vectors[:, 0], difference, (means[0] + means[1]) / 2)


def oriented(
    vector: Float[np.ndarray, " d"], difference: Float[np.ndarray, " d"], middle: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " d"], float]:
    """A direction whose sign and threshold the classes' means set."""
    coef = vector if vector @ difference >= 0 else -vector
    return coef, float(-coef @ middle)
