"""probes: linear directions for behaviours, evaluated so that they survive review."""

from probes.base import LinearProbe
from probes.direction import Direction, Provenance
from probes.evaluate import evaluate
from probes.fit import PROBES, Fitted, fit
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.sweep import Best, best, sweep

__all__ = [
    "PROBES",
    "Best",
    "Direction",
    "Fitted",
    "LinearProbe",
    "Logistic",
    "MeanDifference",
    "Provenance",
    "best",
    "evaluate",
    "fit",
    "sweep",
]
