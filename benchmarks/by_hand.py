"""What a user writes by hand around a tool that only runs a model: batches in the order given, and pooling."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

Pool = Literal["last", "mean"]


def batches(tokenizer: Any, texts: list[str], size: int) -> Iterator[Any]:
    """Tokenise and pad so many texts at a time."""
    for start in range(0, len(texts), size):
        yield tokenizer(texts[start : start + size], return_tensors="pt", padding=True)


def pooled(h: Tensor, mask: Tensor, pool: Pool) -> Tensor:
    """`[batch, pos, d]` and its mask to `[batch, d]`."""
    if pool == "mean":
        real = mask[..., None].to(h.dtype)
        return (h * real).sum(dim=1) / real.sum(dim=1)
    position = torch.arange(mask.shape[1])
    last = (mask * position).argmax(dim=1)
    return h[torch.arange(len(h)), last]


def hugging_face(folder: str) -> tuple[Any, Any]:
    """A model and its tokenizer, as transformers loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def blocks(hf: Any) -> Any:
    """The list of blocks of a Llama or a GPT-2."""
    return hf.model.layers if hasattr(hf, "model") else hf.transformer.h


def of_block(output: Any) -> Tensor:
    """A block's hidden states, whether it returns them alone or in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def prompts(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    """Ids and mask of texts of one length: nobody has to pad."""
    e = tokenizer(texts, return_tensors="pt")
    return {"input_ids": e.input_ids, "attention_mask": e.attention_mask}


def greedy(new: int) -> dict[str, Any]:
    """The options of Hugging Face's `generate` for exactly so many tokens."""
    return {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
