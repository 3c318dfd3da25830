"""probes: linear directions for behaviours, evaluated so that they survive review."""

from probes.base import LinearProbe
from probes.calibrate import Calibrated, calibrate
from probes.ccs import Ccs
from probes.direction import Direction
from probes.erasure import ERASURES, Eraser, Inlp, Leace, MeanProjection, erase
from probes.evaluate import evaluate, flag_rates
from probes.fit import PROBES, Fitted, fit
from probes.geometry import cosines, mean, project, reliability
from probes.lda import Lda
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.metrics import adjust
from probes.monitor import Monitor, Watched
from probes.nested import Nested, nested
from probes.pca import Lat, Pca
from probes.provenance import Provenance
from probes.ridge import Ridge
from probes.sweep import Best, best, sweep
from probes.transfer import transfer

__all__ = [
    "ERASURES",
    "PROBES",
    "Best",
    "Calibrated",
    "Ccs",
    "Direction",
    "Eraser",
    "Fitted",
    "Inlp",
    "Lat",
    "Lda",
    "Leace",
    "LinearProbe",
    "Logistic",
    "MeanDifference",
    "MeanProjection",
    "Monitor",
    "Nested",
    "Pca",
    "Provenance",
    "Ridge",
    "Watched",
    "adjust",
    "best",
    "calibrate",
    "cosines",
    "erase",
    "evaluate",
    "fit",
    "flag_rates",
    "mean",
    "nested",
    "project",
    "reliability",
    "sweep",
    "transfer",
]
