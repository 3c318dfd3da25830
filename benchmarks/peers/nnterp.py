"""nnterp: its own batched collection, last token only (it pads on the left), stopped after the last wanted block."""

from typing import Any

import torch
from by_hand import Pool, greedy, hugging_face, prompts
from nnterp import StandardizedTransformer
from nnterp.nnsight_utils import collect_token_activations_batched
from torch import Tensor

POOLS = ("last",)


def load(folder: str) -> Any:
    hf, tokenizer = hugging_face(folder)
    tokenizer.padding_side = "left"
    return StandardizedTransformer(hf, tokenizer=tokenizer)


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    return collect_token_activations_batched(model, texts, batch, layers=layers)


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    added, asked = torch.tensor(vector), prompts(model.tokenizer, texts)
    with torch.no_grad(), model.generate(asked, **greedy(new)) as tracer:
        for _ in tracer.iter[0:new]:
            model.steer(layer, added)
        made = tracer.result.save()
    return made[:, asked["input_ids"].shape[1] :]
