"""Delta: what an edit does to one parameter, small enough to be kept and exact enough to be done again."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Delta:
    """A change of rank k of one parameter, along its residual-stream axis.

        P ← P − Σ_k amount_k ⊗ along_k        computed in float64, rounded once

    parameter: its full name; one that is not there yet (a bias) counts as zeros and is added. axis: the one of width d;
    all others together are "rows". along: `[k, d]`; amount: `[k, *rows]`, both float64. rows: those that change, of a
    matrix `[rows, d]` (None: all); then amount is `[k, len(rows)]`. adds: whether the amount is a constant, so that it
    commutes with others of its kind, rather than a projection of what was there.
    """

    parameter: str
    axis: int
    along: Float[Tensor, "k d"]
    amount: Float[Tensor, "k *rows"]  # noqa: F821
    rows: Int[Tensor, " r"] | None = None
    adds: bool = False

    @property
    def module(self) -> str:
        """The name of the module whose parameter it is."""
        return self.parameter.rpartition(".")[0]

    @property
    def leaf(self) -> str:
        return self.parameter.rpartition(".")[2]

    def part(self, parameter: Tensor) -> Tensor:
        """The values that change: a view of the parameter, or a copy of the rows. Residual-stream axis last."""
        wide = parameter.detach().movedim(self.axis, -1)
        return wide if self.rows is None else wide[self.rows.to(wide.device)]

    def put(self, parameter: Tensor, values: Tensor) -> None:
        """Write back what `part` gave, or has become."""
        wide = parameter.detach().movedim(self.axis, -1)
        if self.rows is None:
            wide.copy_(values)
        else:
            wide[self.rows.to(wide.device)] = values.to(wide.dtype)

    def fits(self, parameter: Tensor) -> bool:
        """Whether the parameter has the shape it was made for."""
        if not -parameter.ndim <= self.axis < parameter.ndim:
            return False
        shape = parameter.movedim(self.axis, -1).shape
        if shape[-1] != self.along.shape[1]:
            return False
        if self.rows is None:
            return shape[:-1] == self.amount.shape[1:]
        return len(shape) == 2 and (len(self.rows) == 0 or int(self.rows.max()) < shape[0])

    def apply(self, parameter: Tensor) -> None:
        """Change the parameter in place."""
        old = self.part(parameter)
        along, amount = self.along.to(old.device), self.amount.to(old.device)
        if old.ndim == 1:
            self.put(parameter, old.double() - amount @ along)
            return
        new = old if self.rows is None else torch.empty_like(old)
        # In pieces that stay in the cache, and without a float64 copy of the whole.
        for start in range(0, len(old), CHUNK):
            piece = old[start : start + CHUNK].double()
            for one, much in zip(along, amount[:, start : start + CHUNK], strict=True):
                piece.addcmul_(much[:, None], one, value=-1)
            new[start : start + CHUNK] = piece.to(new.dtype)
        if self.rows is not None:
            self.put(parameter, new)


def projection(
    parameter: str,
    tensor: Tensor,
    axis: int,
    along: Float[Tensor, "k d"],
    reading: Float[Tensor, "k d"] | None = None,
    level: Float[Tensor, " k"] | None = None,
) -> Delta:
    """The delta that projects a parameter: `P ← P − Lᵀ (R P − level)` with L = along and R = reading (None: L)."""
    wide = tensor.detach().movedim(axis, -1)
    read = (along if reading is None else reading).T.to(wide.device)
    pieces = [piece.double() @ read for piece in wide.split(CHUNK)] if wide.ndim > 1 else [wide.double() @ read]
    amount = torch.cat(pieces).movedim(-1, 0).cpu().contiguous()
    return Delta(parameter, axis, along, amount if level is None else amount - level)
