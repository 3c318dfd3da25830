"""probes: linear directions for behaviours, evaluated so that they survive review."""

from probes.base import LinearProbe
from probes.direction import Direction, Provenance
from probes.evaluate import evaluate
from probes.fit import PROBES, Fitted, fit
from probes.lda import Lda
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.pca import Lat, Pca
from probes.ridge import Ridge
from probes.sweep import Best, best, sweep

__all__ = [
    "PROBES",
    "Best",
    "Direction",
    "Fitted",
    "Lat",
    "Lda",
    "LinearProbe",
    "Logistic",
    "MeanDifference",
    "Pca",
    "Provenance",
    "Ridge",
    "best",
    "evaluate",
    "fit",
    "sweep",
]
