"""Logistic regression for many penalties at once, in the span of the rows where they are fewer than the features.

    minimise  J(v, b) = C Σᵢ wᵢ log(1 + exp(−sᵢ fᵢ)) + ‖v‖²/2,      f = Z v + b,   s = ±1

Newton's method, with g = C w s σ(−s f) (so that ∇ᵥJ = v − Zᵀg and ∂J/∂b = −Σg) and D = diag(C w σ(f) σ(−f)):

    narrow, n ≥ d      (I + ZᵀDZ) Δv + ZᵀD1 Δb = Zᵀg − v
    wide,   n < d      v = Zᵀa, K = ZZᵀ [n, n]:      (I + DK) Δa + D1 Δb = g − a
    both               Σ (g − D(ZΔv + Δb)) = 0

so that a step costs one Cholesky factor of [min(n, d)]², where a solver by gradients takes O(n d) for each of many more
steps; K is made once for all penalties. A factor is kept while steps with it still fall fast. Penalties are taken in
order, each from the line through where the two before ended, until no step can lower J by more than `TOLERANCE · ‖v‖²`
or its rounding; since J is 1-strongly convex in v, the error of v is then at most √(2 · TOLERANCE) of its norm.

Source: Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), §3.4, for the wide form without intercept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from scipy import linalg, special

from lens.errors import DataError

TOLERANCE = 1e-14
# A factor is kept as long as each step falls to this part of the one before.
KEEPS = 0.3
SHORTEST, MOST_STEPS = 1e-9, 200


def solve_path(
    Z: Float[np.ndarray, "n d"], sign: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"], Cs: Sequence[float]
) -> list[tuple[Float[np.ndarray, " d"], float]]:
    """Coefficients [d] and intercept for each C, in the order given.

    Z: features; sign: −1 or 1; weight: at least 0, above 0 in both classes. Raises DataError where a C is not above
    0, or where steps do not end.
    """
    for C in Cs:
        check_strength(C)
    wide = len(Z) < Z.shape[1]
    problem: _Problem = _Wide(Z, sign, weight) if wide else _Narrow(Z, sign, weight)
    ends: list[tuple[float, _Point]] = []
    for C in sorted(set(Cs)):
        ends.append((C, problem.solve(C, problem.start(C, ends))))
    found = dict(ends)
    coefs = np.stack([found[C].x for C in Cs])
    return [(coef, found[C].b) for coef, C in zip(coefs @ Z if wide else coefs, Cs, strict=True)]


def check_strength(C: float) -> None:
    """Raises DataError unless an inverse strength of a penalty is above 0, and finite."""
    if not 0 < C < np.inf:
        raise DataError(f"C={C}: an inverse strength of the penalty is a number above 0.")


@dataclass(frozen=True)
class _Point:
    """A place, or a step: x (a where rows are wide, else v), the intercept, and Zv."""

    x: Float[np.ndarray, " m"]
    b: float
    Zv: Float[np.ndarray, " n"]

    def moved(self, size: float, step: "_Point") -> "_Point":
        return _Point(self.x + size * step.x, self.b + size * step.b, self.Zv + size * step.Zv)


class _Problem:
    """Rows with their labels. Which numbers are sought is left to `_Wide` and `_Narrow`."""

    def __init__(
        self, Z: Float[np.ndarray, "n d"], sign: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
    ) -> None:
        self.Z, self.sign, self.weight = Z, sign, weight

    def factor(self, D: Float[np.ndarray, " n"]) -> None:
        """Make the second derivative of J at one place the one that steps are taken with."""
        raise NotImplementedError

    def rest(self, at: _Point, g: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """What is left on the right of the step's equation."""
        raise NotImplementedError

    def step(self, rest: Float[np.ndarray, " m"], total: float) -> _Point:
        """total: the sum of g."""
        raise NotImplementedError

    def dot(self, one: _Point, x: Float[np.ndarray, " m"]) -> float:
        """The product of two v, of which the second is known by its x."""
        raise NotImplementedError

    def start(self, C: float, ends: Sequence[tuple[float, _Point]]) -> _Point:
        """Where to look for the next optimum: where the last one was, or on the line in log C through the last two."""
        if not ends:
            total = [self.weight[self.sign == side].sum() for side in (-1, 1)]
            return _Point(np.zeros(min(self.Z.shape)), float(np.log(total[1] / total[0])), np.zeros(len(self.Z)))
        last = ends[-1][1]
        if len(ends) == 1:
            return last
        (C0, one), (C1, two) = ends[-2:]
        back = _Point(two.x - one.x, two.b - one.b, two.Zv - one.Zv)
        ahead = two.moved(float(np.log(C / C1) / np.log(C1 / C0)), back)
        return min((last, ahead), key=partial(self.cost, C))

    def solve(self, C: float, at: _Point) -> _Point:
        """The optimum, from a start."""
        cost, before, stale = self.cost(C, at), np.inf, True
        for _ in range(MOST_STEPS):
            miss = special.expit(-self.sign * (at.Zv + at.b))
            g = C * self.weight * self.sign * miss
            fresh = stale
            if fresh:
                self.factor(C * self.weight * miss * (1 - miss))
                stale = False
            rest = self.rest(at, g)
            step = self.step(rest, float(g.sum()))
            # How much J falls to first order: twice what it can fall at all.
            slope = self.dot(step, rest) + step.b * float(g.sum())
            if slope <= max(TOLERANCE * self.dot(at, at.x), np.finfo(float).eps * cost):
                return at.moved(1, step)
            size = 1.0 if fresh or slope <= KEEPS * before else 0.0
            while size > SHORTEST and (lower := self.cost(C, at.moved(size, step))) > cost - 1e-4 * size * slope:
                size /= 2
            if size > SHORTEST:
                at, cost, before = at.moved(size, step), lower, slope
            elif fresh:
                return at  # no step lowers J by more than its rounding
            stale = size < 1
        raise DataError(f"Logistic regression with C={C:g} has not converged in {MOST_STEPS} steps of Newton's method.")

    def cost(self, C: float, at: _Point) -> float:
        loss = np.logaddexp(0, -self.sign * (at.Zv + at.b))
        return C * float(self.weight @ loss) + self.dot(at, at.x) / 2


class _Wide(_Problem):
    """In a, with B = I + D^½ K D^½ and M = (I + DK)⁻¹ = I − D^½ B⁻¹ D^½ K."""

    def __init__(
        self, Z: Float[np.ndarray, "n d"], sign: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
    ) -> None:
        super().__init__(Z, sign, weight)
        self.K = Z @ Z.T
        self._B = np.empty_like(self.K)

    def factor(self, D: Float[np.ndarray, " n"]) -> None:
        self.D, self.root = D, np.sqrt(D)
        np.multiply(self.K, self.root[:, None], out=self._B)
        self._B *= self.root
        self._B.flat[:: len(self._B) + 1] += 1
        # The transpose is in the order of columns, which LAPACK overwrites without a copy.
        self.chol = linalg.cho_factor(self._B.T, lower=True, overwrite_a=True, check_finite=False)
        self.of_ones = self._through(D)

    def _through(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """M x."""
        return x - self.root * linalg.cho_solve(self.chol, self.root * (self.K @ x), check_finite=False)

    def rest(self, at: _Point, g: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return g - at.x

    def step(self, rest: Float[np.ndarray, " n"], total: float) -> _Point:
        # By the first equation D(KΔa + Δb) = rest − Δa, whose sum the last one sets to that of g.
        da = self._through(rest)
        db = float((da.sum() + total - rest.sum()) / self.of_ones.sum())
        da -= db * self.of_ones
        return _Point(da, db, self.K @ da)

    def dot(self, one: _Point, x: Float[np.ndarray, " n"]) -> float:
        return float(one.Zv @ x)


class _Narrow(_Problem):
    """In v, with H = I + ZᵀDZ."""

    def factor(self, D: Float[np.ndarray, " n"]) -> None:
        scaled = self.Z * np.sqrt(D)[:, None]
        H = scaled.T @ scaled
        H.flat[:: len(H) + 1] += 1
        self.chol = linalg.cho_factor(H, lower=True, overwrite_a=True, check_finite=False)
        self.ones = D @ self.Z
        self.of_ones = linalg.cho_solve(self.chol, self.ones, check_finite=False)
        self.total = float(D.sum())

    def rest(self, at: _Point, g: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
        return np.asarray(g @ self.Z - at.x)

    def step(self, rest: Float[np.ndarray, " d"], total: float) -> _Point:
        db = float((total - self.of_ones @ rest) / (self.total - self.of_ones @ self.ones))
        dv = linalg.cho_solve(self.chol, rest, check_finite=False) - db * self.of_ones
        return _Point(dv, db, self.Z @ dv)

    def dot(self, one: _Point, x: Float[np.ndarray, " d"]) -> float:
        return float(one.x @ x)
