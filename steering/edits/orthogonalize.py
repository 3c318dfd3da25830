"""Orthogonalise: directions that no weight can write any more."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lens.model import Model
from probes.direction import Direction, basis_of
from steering.edits.change import EXACT, Change, Plan, named
from steering.edits.delta import Delta, projection
from steering.edits.running import gone
from steering.edits.writers import PARTS, Writer, check_editable, gain, writer
from steering.interventions.base import check_directions

THROUGH_NORMS = (
    "Nothing along the direction is left after any block, but this is not what Ablate at the writers does: each norm "
    "after a writer rescales the rest of what is written."
)


@dataclass(frozen=True, eq=False)
class Orthogonalize(Change):
    """Weight orthogonalisation: no writer can put anything into the span of the directions any more.

        W ← (I − U Uᵀ) W      for embeddings, attention outputs and MLP outputs, their biases too
        U: an orthonormal basis of the directions, [d, k]

    The same as ablating them to zero at every writer (`Ablate(d, to="zero", sites=writers(model), span="all")`).

    through_norms: where a norm with a gain g follows the writer (Gemma 2 and 3, OLMo 2), write `g ⊙ u` out of it, for
    u · (g ⊙ x / rms(x)) = (g ⊙ u) · x / rms(x). The direction is then absent after every block, but what else is
    written changes its size, so this is not what the hook does (`Edit.exact` is False). Refused unless asked for.

    Source: Arditi et al., Refusal in Language Models Is Mediated by a Single Direction (2024), §4.
    """

    direction: Direction | Sequence[Direction]
    through_norms: bool = False

    def __post_init__(self) -> None:
        several = (self.direction,) if isinstance(self.direction, Direction) else tuple(self.direction)
        check_directions("Orthogonalize", several or [None])
        object.__setattr__(self, "direction", several)

    @property
    def directions(self) -> tuple[Direction, ...]:
        assert isinstance(self.direction, tuple)
        return self.direction

    @property
    def name(self) -> str:
        return named("orthogonalize", "", [one.vector for one in self.directions])

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        for one in self.directions:
            one.check_model(model, other_model=other_model)

    def plan(self, model: Model) -> Plan:
        check_editable(model, through_norms=self.through_norms)
        basis = basis_of(self.directions)
        rows = basis.T.contiguous()
        deltas = [
            projection(f"{name}.weight", model.hf.get_submodule(name).weight, -1, rows)
            for name in model.parts.embeddings
        ]
        exact = True
        for layer in range(model.n_layers):
            for part in PARTS:
                found = writer(model, layer, part)
                exact &= found.norm is None
                deltas += _deltas(found, rows)
        note = EXACT if exact else THROUGH_NORMS
        return Plan(tuple(deltas), untie=True, exact=exact, note=note, check=gone(model, basis))


def _deltas(found: Writer, rows: Float[Tensor, "k d"]) -> list[Delta]:
    if found.norm is not None:
        _, size, scaled = torch.linalg.svd(rows * gain(found.norm, rows.shape[1]), full_matrices=False)
        rows = scaled[size > 0].contiguous()
    deltas = [projection(f"{found.name}.weight", found.weight, found.axis, rows)]
    if found.bias is not None:
        deltas.append(projection(f"{found.name}.bias", found.bias, 0, rows))
    return deltas
