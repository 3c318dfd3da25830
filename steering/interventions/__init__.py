"""Interventions: pure functions of the residual stream, with their sites, token span and strength."""

from steering.interventions.add import Add
from steering.interventions.affine import Affine
from steering.interventions.base import DEFAULT_SPAN, Directional, Intervention, Strength, Unit, writers
from steering.interventions.clamp import Clamp
from steering.interventions.erase import Erase
from steering.interventions.gate import Gate, Rule
from steering.interventions.patch import Patch
from steering.interventions.project import Ablate, AblateSubspace
from steering.interventions.rotate import Rotate

__all__ = [
    "DEFAULT_SPAN",
    "Ablate",
    "AblateSubspace",
    "Add",
    "Affine",
    "Clamp",
    "Directional",
    "Erase",
    "Gate",
    "Intervention",
    "Patch",
    "Rotate",
    "Rule",
    "Strength",
    "Unit",
    "writers",
]
