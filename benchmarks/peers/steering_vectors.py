"""steering-vectors: `record_activations` around a forward pass, which runs to its end."""

from typing import Any

import torch
from by_hand import Pool, batches, greedy, hugging_face, pooled, prompts
from steering_vectors import SteeringVector, record_activations
from torch import Tensor

load = hugging_face


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    hf, tokenizer = model
    parts = []
    for e in batches(tokenizer, texts, batch):
        with (
            torch.no_grad(),
            record_activations(hf, layer_type="decoder_block", layer_nums=layers, clone_activations=False) as found,
        ):
            hf(input_ids=e.input_ids, attention_mask=e.attention_mask, use_cache=False, logits_to_keep=1)
        parts.append(torch.stack([pooled(found[layer][0], e.attention_mask, pool) for layer in layers]))
    return torch.cat(parts, dim=1)


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    hf, tokenizer = model
    asked = prompts(tokenizer, texts)
    with torch.no_grad(), SteeringVector({layer: torch.tensor(vector)}).apply(hf, multiplier=1.0):
        made = hf.generate(**asked, **greedy(new))
    return made[:, asked["input_ids"].shape[1] :]
