"""Gates: the rows of a gated MLP that read the residual stream, found by name and checked by running the MLP."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lens.errors import ModelError
from lens.model import Model
from steering.edits.writers import family, is_plain, writer

FUSED = "gate_up_proj"
NAMES = {"gate": "gate_proj", "up": "up_proj"}


@dataclass(frozen=True)
class Rows:
    """Rows `start` to `stop` of a parameter."""

    parameter: str
    whole: Tensor
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def weight(self) -> Tensor:
        return self.whole[self.start : self.stop]


def gate_rows(model: Model, layer: int, matrix: str) -> Rows:
    """The rows of a block's gate (or up) matrix. Of a fused one (Phi-3) they are its first (or second) half.

    Raises ModelError: an MLP of experts, one without a gate, or one that does not compute
    `down(act(gate(x)) · up(x))` from these matrices.
    """
    down = writer(model, layer, "MLP")
    name = f"{model.parts.blocks}.{layer}.{model.parts.mlp or ''}".rstrip(".")
    mlp: Any = model.hf.get_submodule(name)
    separate, fused = NAMES[matrix], getattr(mlp, FUSED, None)
    plain = [one for one in (fused, *(getattr(mlp, other, None) for other in NAMES.values())) if _is_plain(one)]
    if not ((fused in plain and len(plain) == 1) or (fused is None and len(plain) == 2)):
        inside = ", ".join(child for child, _ in mlp.named_children())
        raise ModelError(
            f"{family(model)}: the MLP of block {layer} has no gate (it has {inside or 'no parts'}); model surgery "
            f"edits the rows of gated MLPs with {', '.join(NAMES.values())} or {FUSED}."
        )
    _check_formula(model, name, mlp, fused, down.layer)
    if fused is None:
        weight = getattr(mlp, separate).weight
        return Rows(f"{name}.{separate}.weight", weight, 0, len(weight))
    half = len(fused.weight) // 2
    start = 0 if matrix == "gate" else half
    return Rows(f"{name}.{FUSED}.weight", fused.weight, start, start + half)


def _is_plain(layer: Any) -> bool:
    return isinstance(layer, nn.Linear) and is_plain(layer.weight)


def _check_formula(model: Model, name: str, mlp: Any, fused: Any, down: nn.Module) -> None:
    act = next((found for key in ("act_fn", "activation_fn", "act") if (found := getattr(mlp, key, None))), None)
    weight = (fused if fused is not None else mlp.gate_proj).weight
    x = torch.randn(4, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight)
    with torch.no_grad():
        gate, up = fused(x).chunk(2, dim=-1) if fused is not None else (mlp.gate_proj(x), mlp.up_proj(x))
        error = (mlp.forward(x) - down(act(gate) * up)).float().norm() / mlp.forward(x).float().norm() if act else 1.0
    if not float(error) < 2e-2:
        raise ModelError(f"{family(model)}: {name} does not compute down(act(gate) · up) from the matrices so named.")
