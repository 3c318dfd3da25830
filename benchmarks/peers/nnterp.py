"""nnterp: its own batched collection, last token only (it pads on the left), stopped after the last wanted block."""

from typing import Any

from by_hand import Pool, hugging_face
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
