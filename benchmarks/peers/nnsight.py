"""nnsight: pooled inside the trace, which is stopped after the last wanted block."""

from typing import Any

import torch
from by_hand import Pool, batches, blocks, greedy, hugging_face, of_block, pooled, prompts
from nnsight import LanguageModel
from torch import Tensor


def load(folder: str) -> Any:
    hf, tokenizer = hugging_face(folder)
    return LanguageModel(hf, tokenizer=tokenizer), tokenizer


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    lm, tokenizer = model
    parts = []
    for e in batches(tokenizer, texts, batch):
        mask, kept = e.attention_mask, []
        with torch.no_grad(), lm.trace({"input_ids": e.input_ids, "attention_mask": mask}) as tracer:
            for layer in layers:
                kept.append(pooled(of_block(blocks(lm)[layer].output), mask, pool).save())
            tracer.stop()
        parts.append(torch.stack(kept))
    return torch.cat(parts, dim=1)


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    lm, tokenizer = model
    added, block = torch.tensor(vector), blocks(lm)[layer]
    asked = prompts(tokenizer, texts)
    with torch.no_grad(), lm.generate(asked, **greedy(new)) as tracer:
        for _ in tracer.iter[0:new]:
            if isinstance(block.output, tuple):
                block.output = (block.output[0] + added, *block.output[1:])
            else:
                block.output = block.output + added
        made = tracer.result.save()
    return made[:, asked["input_ids"].shape[1] :]
