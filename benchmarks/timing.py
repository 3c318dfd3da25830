"""Interleaved timing: every round runs all contestants once, in random order, and compares within the round."""

import random
import time
from typing import Any

import numpy as np
import torch
import transformers


def compare(contestants: dict[str, tuple[Any, ...]], *, base: str, rounds: int = 15, seed: int = 0) -> None:
    """Print CPU seconds of each contestant (a function and its arguments), and its median paired ratio to `base`
    with a 95 % bootstrap interval."""
    for run, *given in contestants.values():
        run(*given)
    order, rng = list(contestants), random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        rng.shuffle(order)
        for name in order:
            run, *given = contestants[name]
            start = time.process_time()
            run(*given)
            seconds[name].append(time.process_time() - start)
    draws = np.random.default_rng(seed)
    for name, taken in seconds.items():
        ratios = np.array(taken) / np.array(seconds[base])
        medians = np.median(draws.choice(ratios, (2000, rounds)), axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        print(f"  {name:<44} {np.median(taken):7.3f} s   {np.median(ratios):5.2f} × ({low:.2f} to {high:.2f})")


def shapes() -> dict[str, transformers.PreTrainedModel]:
    """Random models of 25 million parameters: what is timed does not depend on what they know."""
    torch.manual_seed(0)
    size = {"vocab_size": 8000, "max_position_embeddings": 1024}
    llama = transformers.LlamaConfig(
        **size, hidden_size=512, intermediate_size=1408, num_hidden_layers=6, num_attention_heads=8
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=8000, n_embd=512, n_layer=6, n_head=8, n_positions=1024, bos_token_id=1, eos_token_id=1
    )
    return {
        "Llama, 25M": transformers.LlamaForCausalLM(llama).eval(),
        "GPT-2, 25M": transformers.GPT2LMHeadModel(gpt2).eval(),
    }


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One token a word, so that the number of tokens is known."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<eos>": 1} | {f"w{k}": k for k in range(2, 8000)}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def texts(lengths: list[int], seed: int = 0) -> list[str]:
    """Random words in texts of these lengths."""
    rng = random.Random(seed)
    return [" ".join(f"w{rng.randrange(2, 8000)}" for _ in range(length)) for length in lengths]
