"""Changes: what can be written into weights, worked out for one model before any weight is touched."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lens.model import Model
from steering.edits.delta import Delta

EXACT = "The edited model computes what the same intervention makes of the unedited one."


def nothing_to_check() -> None:
    """For changes that are right by construction."""


@dataclass(frozen=True)
class Plan:
    """What a change comes to in one model.

    deltas: one per parameter. untie: whether the unembedding first gets its own copy of tied embeddings. exact:
    whether the result is what the intervention of the same name does; note: in words. details: what was chosen, for the
    record (JSON). check: called afterwards, it raises where the outcome is not what was wanted.
    """

    deltas: tuple[Delta, ...]
    untie: bool = False
    exact: bool = True
    note: str = EXACT
    details: dict[str, Any] = field(default_factory=dict)
    check: Callable[[], None] = nothing_to_check


class Change(ABC):
    """A change of weights that `steering.edit` can make; each kind is a frozen dataclass."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Kind and content hash, as it stands in fingerprints."""

    @abstractmethod
    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        """Raises ArtifactError where it was made for another model or width, SiteError for a site it does not have."""

    @abstractmethod
    def plan(self, model: Model) -> Plan:
        """Every parameter's change; touches nothing. Raises ModelError where this model cannot be edited so."""


def named(kind: str, settings: object, tensors: Sequence[Tensor]) -> str:
    """A name of kind and content."""
    digest = hashlib.sha256(repr(settings).encode() if settings else b"")
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"{kind}:{digest.hexdigest()[:8]}"
