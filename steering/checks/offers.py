"""What a model cannot offer, known from its structure before anything runs. Each function gives the reason, or None.

Only these reasons make a property `not applicable`: an error met on the way never does.
"""

import inspect

from torch import nn

from lens.errors import ModelError
from lens.model import Model
from steering.edits import check_editable

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


def no_text(model: Model) -> str | None:
    """Why it generates nothing."""
    return f"{_family(model)} is an encoder: it generates no text." if model.is_encoder else None


def no_cache(model: Model) -> str | None:
    """Why it has no KV cache to compare with."""
    if model.is_encoder:
        return no_text(model)
    if "use_cache" not in _takes(model.hf):
        return f"{_family(model)} takes no use_cache: it keeps no KV cache."
    return None


def no_left_padding(model: Model) -> str | None:
    """Why it is never padded on the left."""
    return "Encoders count positions by column; they are always padded on the right." if model.is_encoder else None


def no_writers(model: Model) -> str | None:
    """Why what attention and MLP add cannot be read, or does not add up to the stream."""
    parts, config = model.parts, model.hf.config.get_text_config()
    if model.is_encoder:
        return f"{_family(model)} is an encoder: they normalise the stream after each write, so no sum holds."
    if parts.attn is None or parts.mlp is None:
        return f"The adapter names no single module that is the {'MLP' if parts.attn else 'attention'} of a block."
    for part in (parts.attn, parts.mlp):
        if "residual" in _takes(model.blocks[0].get_submodule(part)):
            return f"{_family(model)} hands the stream to its {part}, whose output holds it already."
    if getattr(config, "residual_multiplier", 1.0) != 1.0:
        return f"{_family(model)} scales what attention and MLP write before adding it (residual_multiplier)."
    return None


def no_mid(model: Model) -> str | None:
    """Why there is no stream between attention and MLP."""
    config = model.hf.config.get_text_config()
    flags = ("use_parallel_residual", "parallel_attn", "new_decoder_architecture")
    if model.parts.mid is None or any(getattr(config, flag, False) for flag in flags):
        return "Attention and MLP read the same stream (parallel blocks)."
    return no_writers(model)


def no_edit(model: Model) -> str | None:
    """Why no direction can be written out of its weights."""
    if model.is_encoder:
        return f"{_family(model)} is an encoder: norms after each write put a direction back into the stream."
    try:
        check_editable(model)
    except ModelError as reason:
        return str(reason)
    return None


def no_bridge(model: Model) -> str | None:
    """Why TransformerLens has no bridge for it."""
    if model.parts.known_as != _family(model):
        return f"TransformerLens has a bridge for {model.parts.known_as}, not for the headless {_family(model)}."
    return None


def routes_experts(model: Model) -> bool:
    """Whether a router picks experts: there, rounding can swap one expert for another, which is no small error."""
    config = model.hf.config.get_text_config()
    return any((getattr(config, name, None) or 0) > 1 for name in _EXPERTS)


def _family(model: Model) -> str:
    return type(model.hf).__name__


def _takes(module: nn.Module) -> set[str]:
    return set(inspect.signature(module.forward).parameters)
