"""Erasure: affine maps after which no linear probe can tell the classes of a concept."""

from probes.erasure.erase import ERASURES, erase
from probes.erasure.eraser import Eraser
from probes.erasure.inlp import Inlp
from probes.erasure.leace import Leace, MeanProjection

__all__ = ["ERASURES", "Eraser", "Inlp", "Leace", "MeanProjection", "erase"]
