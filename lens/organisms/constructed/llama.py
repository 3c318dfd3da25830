"""The Llama that constructed organisms are written into: its sizes, its norms, its tokenizer."""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lens.organisms.words import SPECIALS, word_level

Norm = Literal["rms", "none"]

LAYERS, WIDTH, HEADS, NEURONS, CONTEXT = 4, 64, 4, 256, 128
HEAD = WIDTH // HEADS
# RoPE turns the last pair of a head's channels by 10^(-10.5) per token: not at all, within the context.
ROPE_THETA, STILL = 1e12, HEAD // 2 - 1
# An ε this large swallows the mean square of anything below 100 in float32, and its root is a power of two: the norm
# divides and its weight multiplies by 2²⁰, which changes no bit.
EPSILON: dict[Norm, float] = {"rms": 1e-6, "none": 2.0**40}


def config(vocabulary: int, norm: Norm) -> LlamaConfig:
    """The configuration, with untied embeddings."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=EPSILON[norm],
        rope_parameters={"rope_theta": ROPE_THETA, "rope_type": "default"},
        tie_word_embeddings=False,
        pad_token_id=SPECIALS.index("<pad>"),
        bos_token_id=SPECIALS.index("<bos>"),
        eos_token_id=SPECIALS.index("<eos>"),
    )


def norm_weight(norm: Norm, length: float) -> float:
    """The norms' weight: `rms` leaves a stream of this length as it is, `none` leaves every stream as it is."""
    return length / WIDTH**0.5 if norm == "rms" else EPSILON[norm] ** 0.5


def write(hf: LlamaForCausalLM, matrices: Mapping[str, Tensor], norm: float) -> None:
    """Put the matrices (module name → weight) and the norms' weight into a model."""
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            module = name.removesuffix(".weight")
            if module in matrices:
                parameter.copy_(matrices[module])
            else:
                parameter.fill_(norm)


def tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token per word, specials among them; `tokenizer(text)` puts `<bos>` first."""
    return word_level(tuple(words), context=CONTEXT)
