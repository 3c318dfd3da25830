"""repeng: its own batched collection, last token only, with the whole forward pass."""

from typing import Any

import numpy as np
import torch
from by_hand import Pool, greedy, hugging_face, prompts
from torch import Tensor

np.float_ = np.float64  # repeng 0.4.0 asks numpy 2 for a name that it no longer has
from repeng import ControlModel, ControlVector  # noqa: E402
from repeng.extract import batched_get_hiddens  # noqa: E402

POOLS = ("last",)
load = hugging_face


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    hf, tokenizer = model
    found = batched_get_hiddens(hf, tokenizer, texts, layers, batch)
    return torch.stack([torch.from_numpy(found[layer]) for layer in layers])


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    hf, tokenizer = model
    asked = prompts(tokenizer, texts)
    controlled = ControlModel(hf, [layer])
    try:
        controlled.set_control(ControlVector(model_type="any", directions={layer: np.array(vector, "float32")}), 1.0)
        with torch.no_grad():
            made = controlled.generate(**asked, **greedy(new))
    finally:
        controlled.unwrap()
    return made[:, asked["input_ids"].shape[1] :]
