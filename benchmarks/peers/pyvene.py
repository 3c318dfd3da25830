"""pyvene: an intervention at each block that pools and changes nothing; the forward pass runs to its end."""

from typing import Any

import pyvene
import torch
from by_hand import Pool, batches, greedy, hugging_face, pooled, prompts
from torch import Tensor

load = hugging_face


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    hf, tokenizer = model
    kept: list[Tensor] = []
    mask = torch.empty(0)

    def grab(base: Tensor, source: Any) -> Tensor:
        kept.append(pooled(base, mask, pool))
        return base

    plan = [{"layer": layer, "component": "block_output", "intervention": grab} for layer in layers]
    intervenable = pyvene.IntervenableModel(plan, model=hf)
    parts = []
    with torch.no_grad():
        for e in batches(tokenizer, texts, batch):
            mask = e.attention_mask
            intervenable({"input_ids": e.input_ids, "attention_mask": mask}, unit_locations=None)
            parts.append(torch.stack(kept))
            kept.clear()
    return torch.cat(parts, dim=1)


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    hf, tokenizer = model
    added = torch.tensor(vector)
    plan = {"layer": layer, "component": "block_output", "intervention": lambda base, source: base + added}
    asked = prompts(tokenizer, texts)
    with torch.no_grad():
        intervenable = pyvene.IntervenableModel(plan, model=hf)
        made = intervenable.generate(asked, unit_locations=None, intervene_on_prompt=True, **greedy(new))[1]
    return made[:, asked["input_ids"].shape[1] :]
