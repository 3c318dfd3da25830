"""Export: an edited model as a Hugging Face folder that loads without this package."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lens.errors import ModelError, available
from lens.model import Model


def export(model: Model, folder: str | Path) -> Path:
    """Write weights, configuration and tokenizer as they now are.

    An added bias needs a switch in the configuration (`mlp_bias`, `attention_bias`, …); other biases that come with the
    switch are written as zeros. Raises ModelError, before anything is written, where there is no such switch.
    """
    folder, hf = Path(folder), model.hf
    switches, zeros = _switches(model)
    with _configured(hf.config, switches):
        hf.save_pretrained(folder, state_dict={**hf.state_dict(), **zeros} if zeros else None)
    model.tokenizer.save_pretrained(folder)
    return folder


def _switches(model: Model) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """The switches to turn on so that the architecture has every parameter of the model, and the zeros to add then."""
    hf = model.hf
    own = set(hf.state_dict())
    off = [name for name, value in hf.config.to_dict().items() if "bias" in name and value is False]
    added = own - set(_names(hf, ()))
    if not added:
        return (), {}
    for count in range(1, len(off) + 1):
        for switches in combinations(off, count):
            shapes = _names(hf, switches)
            extra = shapes.keys() - own
            if own <= shapes.keys() and all(name.endswith("bias") for name in extra):
                kept = next(hf.parameters())
                return switches, {name: torch.zeros(shapes[name], dtype=kept.dtype) for name in extra}
    raise ModelError(
        f"{type(hf).__name__} cannot be loaded with {available(sorted(added), 4)}: its configuration has no switch for "
        f"them (available: {available(off)}). Save the edit with .save() and do it again with Edit.load."
    )


def _names(hf: Any, switches: tuple[str, ...]) -> dict[str, torch.Size]:
    """Names and shapes of the parameters that transformers would make for the configuration with switches on."""
    config = copy.deepcopy(hf.config)
    for switch in switches:
        setattr(config, switch, True)
    with torch.device("meta"):
        made = type(hf)(config)
    return {name: tensor.shape for name, tensor in made.state_dict().items()}


@contextmanager
def _configured(config: Any, switches: tuple[str, ...]) -> Iterator[None]:
    """A configuration with switches on, that afterwards is as it was: saving writes into it too."""
    before = dict(vars(config))
    for switch in switches:
        setattr(config, switch, True)
    try:
        yield
    finally:
        vars(config).clear()
        vars(config).update(before)
