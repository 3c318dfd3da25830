"""probes: linear directions for behaviours, evaluated so that they survive review."""

from probes.base import LinearProbe, Probe
from probes.calibrate import Calibrated, calibrate
from probes.ccs import Ccs
from probes.direction import Direction
from probes.erasure import ERASURES, Eraser, Inlp, Leace, MeanProjection, erase
from probes.evaluate import evaluate, flag_rates
from probes.fit import PROBES, Fitted, fit
from probes.geometry import Purified, cosines, mean, project, purify, reliability
from probes.graded import Graded, graded
from probes.k_sparse import KSparse
from probes.lda import Lda
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.metrics import adjust
from probes.mlp import Mlp
from probes.monitor import Monitor, Watched
from probes.multiclass import OneVsRest, one_vs_rest
from probes.nested import Nested, nested
from probes.ordinal import Ordinal
from probes.pca import Lat, Pca
from probes.provenance import Provenance
from probes.ridge import Ridge
from probes.ridge_regression import RidgeRegression
from probes.sweep import Best, best, sweep
from probes.sweep_targets import sweep_classes, sweep_graded
from probes.text_evidence import text_evidence
from probes.tokens import AttentionProbe, FittedTokens, TokenProbe, fit_tokens, sweep_tokens
from probes.transfer import transfer

__all__ = [
    "ERASURES",
    "PROBES",
    "AttentionProbe",
    "Best",
    "Calibrated",
    "Ccs",
    "Direction",
    "Eraser",
    "Fitted",
    "FittedTokens",
    "Graded",
    "Inlp",
    "KSparse",
    "Lat",
    "Lda",
    "Leace",
    "LinearProbe",
    "Logistic",
    "MeanDifference",
    "MeanProjection",
    "Mlp",
    "Monitor",
    "Nested",
    "OneVsRest",
    "Ordinal",
    "Pca",
    "Probe",
    "Provenance",
    "Purified",
    "Ridge",
    "RidgeRegression",
    "TokenProbe",
    "Watched",
    "adjust",
    "best",
    "calibrate",
    "cosines",
    "erase",
    "evaluate",
    "fit",
    "fit_tokens",
    "flag_rates",
    "graded",
    "mean",
    "nested",
    "one_vs_rest",
    "project",
    "purify",
    "reliability",
    "sweep",
    "sweep_classes",
    "sweep_graded",
    "sweep_tokens",
    "text_evidence",
    "transfer",
]
