"""Multilayer perceptron: the small non-linear reference beside linear probes.

    score(h) = a · tanh(W z + c) + b,     z = (h − mean) / std,     W [hidden, d]
    minimise over W, a, b, c    Σᵢ log(1 + exp(−sᵢ score(hᵢ)))  +  alpha (‖W‖² + ‖a‖²) / 2,     s = ±1

The score is a log-odds. It has no direction: what it finds beyond a linear probe is not linear, and what it finds at
all may be memorised, so read its selectivity (the control task) beside its AUROC. All rows are used in every step and
no part of them is held out to stop early, which could split a group: the penalty is what keeps it small.

Source: Hewitt & Liang, Designing and Interpreting Probes with Control Tasks (2019), for the use; scikit-learn's
MLPClassifier (Pedregosa et al., 2011) minimises, by L-BFGS from a start that `seed` draws. Units are smooth because
L-BFGS needs that: with rectified ones it had not converged after 3,000 steps on 400 rows × 128; with these, within 400.
"""

import warnings

import numpy as np
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from lens.errors import DataError
from probes.base import LogOdds, Probe
from probes.standardise import standardised

Learned = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"], MLPClassifier]


class Mlp(LogOdds, Probe):
    """A perceptron with one hidden layer of tanh units.

    hidden: its width. alpha: strength of the penalty (1 / C of `Logistic`). steps: at most so many steps of L-BFGS.

    Raises DataError: a width, penalty or number of steps below what there can be. Warns where steps did not suffice.
    """

    def __init__(self, hidden: int = 32, *, alpha: float = 10.0, steps: int = 1000, seed: int = 0) -> None:
        self.hidden = hidden
        self.alpha = alpha
        self.steps = steps
        self.seed = seed

    def check_parameters(self) -> None:
        if self.hidden < 1 or self.alpha < 0 or self.steps < 1:
            raise DataError(
                f"hidden={self.hidden}, alpha={self.alpha}, steps={self.steps}: a unit, a penalty of at least 0 and a "
                "step are needed."
            )

    def _solve(self, X: Float[np.ndarray, "n d"], positive: np.ndarray, weight: Float[np.ndarray, " n"]) -> Learned:
        Z, center, spread = standardised(X, weight)
        network = MLPClassifier(
            (self.hidden,),
            activation="tanh",
            solver="lbfgs",
            alpha=self.alpha,
            max_iter=self.steps,
            random_state=self.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(Z, positive, sample_weight=weight)
        if network.n_iter_ >= self.steps:
            warnings.warn(
                f"{self.steps} steps did not suffice to minimise the loss; give more, or a larger alpha.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return center, spread, network

    def _keep(self, solution: Learned) -> None:
        self._center, self._spread, self._network = solution
        self.n_iter_ = self._network.n_iter_

    def _scores(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        (W, a), (c, b) = self._network.coefs_, self._network.intercepts_
        return np.tanh((X - self._center) / self._spread @ W + c) @ a[:, 0] + b[0]
