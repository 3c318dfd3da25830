"""Writers: the parameters that put something into the residual stream, and which of them can be edited."""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.errors import ModelError
from lens.model import Model

Part = Literal["attention", "MLP"]
PARTS: tuple[Part, ...] = ("attention", "MLP")
PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Writer:
    """The matrix by which one part of a block writes: its module, its name in the model, the axis of its weight that
    is the residual stream, and the norm that follows it, if one does."""

    name: str
    layer: nn.Module
    axis: int
    norm: nn.Module | None

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.layer.weight  # type: ignore[assignment]
        return weight

    @property
    def bias(self) -> Tensor | None:
        bias: Tensor | None = self.layer.bias  # type: ignore[assignment]
        return bias


def family(model: Model) -> str:
    return type(model.hf).__name__


def check_weights(model: Model) -> None:
    """Raises ModelError where weights are not plain numbers in place: quantised, or kept elsewhere (offloaded)."""
    config = getattr(model.hf.config, "quantization_config", None)
    if config is not None or getattr(model.hf, "is_quantized", False):
        method = getattr(config, "quant_method", None) or "no method named"
        raise ModelError(f"{family(model)} is quantised ({method}); load it unquantised to edit its weights.")
    for name, parameter in model.hf.named_parameters():
        if parameter.is_meta:
            raise ModelError(f"{family(model)}: {name} is offloaded; load the whole model into memory to edit it.")


def writer(model: Model, layer: int, part: Part) -> Writer:
    """The writing matrix of a block's attention or MLP. Raises ModelError where there is no plain one."""
    parts, block = model.parts, model.blocks[layer]
    path = parts.attn_writer if part == "attention" else parts.mlp_writer
    norm = parts.attn_norm if part == "attention" else parts.mlp_norm
    found: Any = dict(block.named_modules()).get(path or "-")
    weight = getattr(found, "weight", None)
    if hasattr(found, "base_layer"):
        raise ModelError(f"{family(model)}: {path} carries an adapter; merge it first (merge_and_unload).")
    if not (isinstance(weight, Tensor) and weight.ndim == 2 and is_plain(weight)):
        raise ModelError(
            f"{family(model)}: block {layer} has no plain writing matrix for its {part} (found: {path or 'none'}); "
            "fused experts or quantised weights cannot be edited."
        )
    if not (isinstance(found, nn.Linear) or type(found).__name__ == "Conv1D"):
        raise ModelError(f"{family(model)}: {path} is a {type(found).__name__}; nn.Linear or Conv1D can be edited.")
    axis = 0 if isinstance(found, nn.Linear) else 1
    return Writer(
        f"{parts.blocks}.{layer}.{path}", found, axis, block.get_submodule(norm) if norm is not None else None
    )


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds its own values, in an ordinary floating-point format."""
    return tensor.dtype in PLAIN and type(tensor.detach()) is Tensor


def check_editable(model: Model, *, through_norms: bool = False) -> None:
    """What can be known before any weight is touched of whether a direction can be written out of all writers.

    Raises ModelError: a norm between writer and stream (unless `through_norms`), an embedding of another width, or no
    plain writing matrix.
    """
    parts = model.parts
    check_weights(model)
    if (parts.attn_norm or parts.mlp_norm) and not through_norms:
        raise ModelError(
            f"{family(model)} normalises attention and MLP outputs before adding them, so orthogonal weights would not "
            "keep the direction out of the stream; use Ablate at attn_out and mlp_out instead, or "
            "Orthogonalize(..., through_norms=True), which keeps it out but is not what that hook does."
        )
    if parts.embed_norm:
        raise ModelError(
            f"{family(model)} normalises its embeddings ({parts.embed_norm}), which puts the direction back into the "
            "stream; use Ablate at the sites instead."
        )
    for name in parts.embeddings:
        width = model.hf.get_submodule(name).weight.shape[-1]
        if width != model.d_model:
            raise ModelError(
                f"{family(model)}: {name} has width {width} and is projected to the stream's {model.d_model}."
            )
    for layer in range(model.n_layers):
        for part in PARTS:
            writer(model, layer, part)


def gain(norm: nn.Module, width: int) -> Float[Tensor, " d"]:
    """The elementwise gain g of a root-mean-square norm, `norm(x) = g ⊙ x / rms(x)`, up to a common factor, float64.

    Found by asking, for families spell it differently (Gemma's is 1 + weight). Raises ModelError: another kind of norm.
    """
    alone: Any = copy.deepcopy(norm).float()
    device = next(alone.parameters(), torch.zeros(())).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(width, generator=generator).to(device)
    with torch.no_grad():
        # Without its hooks: interventions may be on it.
        found, some = alone.forward(torch.ones(width, device=device)), alone.forward(x)
    error = (some - found * x / x.square().mean().sqrt()).norm() / some.norm()
    if not float(error) < 1e-4:
        raise ModelError(f"{type(norm).__name__} is no root-mean-square norm with a gain: nothing is written through.")
    return found.double().cpu()
