"""Edits: changes written into the weights, each exact, checked, small on disk and undone bit for bit."""

from steering.edits.add_bias import AddBias
from steering.edits.change import Change
from steering.edits.compare import compare
from steering.edits.erase_weights import EraseWeights
from steering.edits.in_force import Edit, edit
from steering.edits.orthogonalize import Orthogonalize
from steering.edits.surgery import Selection, Surgery
from steering.edits.writers import check_editable

__all__ = [
    "AddBias",
    "Change",
    "Edit",
    "EraseWeights",
    "Orthogonalize",
    "Selection",
    "Surgery",
    "check_editable",
    "compare",
    "edit",
]
