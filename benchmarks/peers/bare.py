"""No tool: forward hooks that pool, on the model as Hugging Face loads it, stopped after the last wanted block."""

from contextlib import suppress
from typing import Any

import torch
from by_hand import Pool, batches, blocks, greedy, hugging_face, of_block, pooled, prompts
from torch import Tensor

load = hugging_face


class Stop(Exception):
    pass


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    hf, tokenizer = model
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    mask = torch.empty(0)

    def hook_for(layer: int) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            found[layer].append(pooled(of_block(output), mask, pool))
            if layer == layers[-1]:
                raise Stop

        return hook

    handles = [blocks(hf)[layer].register_forward_hook(hook_for(layer)) for layer in layers]
    with torch.no_grad():
        for e in batches(tokenizer, texts, batch):
            mask = e.attention_mask
            with suppress(Stop):
                hf(input_ids=e.input_ids, attention_mask=mask, use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack([torch.cat(found[layer]) for layer in layers])


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    hf, tokenizer = model
    added = torch.tensor(vector)

    def hook(module: Any, args: Any, output: Any) -> Any:
        return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

    asked = prompts(tokenizer, texts)
    handle = blocks(hf)[layer].register_forward_hook(hook)
    with torch.no_grad():
        made = hf.generate(**asked, **greedy(new))
    handle.remove()
    return made[:, asked["input_ids"].shape[1] :]
