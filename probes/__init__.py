"""probes: linear directions for behaviours, evaluated so that they survive review."""

from probes.base import LinearProbe
from probes.direction import Direction
from probes.evaluate import evaluate
from probes.fit import PROBES, Fitted, fit
from probes.geometry import cosines, mean, project, reliability
from probes.lda import Lda
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.monitor import Monitor, Watched
from probes.pca import Lat, Pca
from probes.provenance import Provenance
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
    "Monitor",
    "Pca",
    "Provenance",
    "Ridge",
    "Watched",
    "best",
    "cosines",
    "evaluate",
    "fit",
    "mean",
    "project",
    "reliability",
    "sweep",
]
