"""What is timed: random models of known shapes, one token a word, and texts of known lengths."""

import random
from functools import cache
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = 8000
CONTEXT = 1024


def _llama(*, width: int, hidden: int, layers: int, heads: int, vocab: int) -> transformers.PreTrainedModel:
    config = transformers.LlamaConfig(
        vocab_size=vocab,
        max_position_embeddings=CONTEXT,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        bos_token_id=None,
        eos_token_id=1,
    )
    return transformers.LlamaForCausalLM(config)


def _gpt2(*, width: int, layers: int, heads: int, vocab: int, gate: str = "gelu_new") -> transformers.PreTrainedModel:
    config = transformers.GPT2Config(
        vocab_size=vocab,
        n_positions=CONTEXT,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        activation_function=gate,
        bos_token_id=1,
        eos_token_id=1,
    )
    return transformers.GPT2LMHeadModel(config)


SHAPES = {
    "llama-25M": lambda: _llama(width=512, hidden=1408, layers=6, heads=8, vocab=WORDS),
    "gpt2-25M": lambda: _gpt2(width=512, layers=6, heads=8, vocab=WORDS),
    "llama-124M": lambda: _llama(width=768, hidden=2048, layers=12, heads=12, vocab=32000),
    "gpt2-124M": lambda: _gpt2(width=768, layers=12, heads=12, vocab=50257),
    # 12 blocks of width 256: the shape that the memory of collections is compared on.
    "gpt2-12x256": lambda: _gpt2(width=256, layers=12, heads=4, vocab=WORDS),
    "gpt2-2x64": lambda: _gpt2(width=64, layers=2, heads=2, vocab=WORDS),
    # Small enough to read ten million tokens in a minute or two; tanh would be a third of its cost.
    "gpt2-2x32": lambda: _gpt2(width=32, layers=2, heads=1, vocab=WORDS, gate="relu"),
}


@cache
def model(shape: str) -> transformers.PreTrainedModel:
    """A random model: what is timed does not depend on what it knows. Norms and biases are not left at 1 and 0, where
    an error in them would not be seen."""
    torch.manual_seed(0)
    made = SHAPES[shape]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made


@cache
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One token a word, so that the number of tokens is known."""
    words = {"<pad>": 0, "<eos>": 1} | {f"w{k}": k for k in range(2, WORDS)}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", padding_side="right", model_max_length=CONTEXT
    )


def save(shape: str, folder: Path) -> Path:
    """A model and its tokenizer in a folder of their own, as users have them."""
    place = folder / shape
    model(shape).save_pretrained(place)
    tokenizer().save_pretrained(place)
    return place


def texts(lengths: list[int], seed: int = 0) -> list[str]:
    """Random words in texts of these lengths."""
    rng = random.Random(seed)
    return [" ".join(f"w{rng.randrange(2, WORDS)}" for _ in range(length)) for length in lengths]


def mixed_lengths(count: int, *, median: int, spread: float = 0.8, seed: int = 0) -> list[int]:
    """Log-normal lengths, `median · exp(spread · N(0, 1))`, cut at 10 and 500 tokens."""
    rng = random.Random(seed)
    return [min(max(round(median * rng.lognormvariate(0, spread)), 10), 500) for _ in range(count)]
