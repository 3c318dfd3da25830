"""Steered generation: this project against plain `generate` with a hand-written hook that adds the same vector.

python benchmarks/generate.py
"""

from collections.abc import Iterator
from functools import partial

import torch
from material import model as random_model
from material import texts, tokenizer
from report import Tables, arguments, write
from timing import cpu_seconds, interleave, ratio

import lens
import steering
from lens.generation import generate
from probes import Direction

LAYER, LENGTH, NEW = 1, 16, 32
SHAPES, QUICK, ROUNDS = ("llama-25M", "gpt2-25M"), ("gpt2-2x64",), 11
BASE = "plain generate with a hook"


def plain(model: lens.Model, prompts: list[str], vector: torch.Tensor | None) -> list[str]:
    """What one would write by hand: a hook on one block, and Hugging Face's generate."""

    def hook(module, args, output):
        if isinstance(output, tuple):
            return (output[0] + vector, *output[1:])
        return output + vector

    batch = model.tokenizer(prompts, return_tensors="pt", padding=True)
    handle = model.blocks[LAYER].register_forward_hook(hook) if vector is not None else None
    with torch.no_grad():
        ids = model.hf.generate(**batch, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False)
    if handle:
        handle.remove()
    return model.tokenizer.batch_decode(ids[:, LENGTH:], skip_special_tokens=True)


def ours(model: lens.Model, prompts: list[str], direction: Direction) -> list[str]:
    """The same through this project, from the last prompt token on or everywhere: here everywhere, as the hook."""
    with steering.apply(model, steering.Add(direction, 1.0, unit="raw", span="all")):
        made = generate(model, prompts, max_new_tokens=NEW, min_new_tokens=NEW)
    return [one.text for one in made]


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    torch.set_num_threads(1)
    for shape in QUICK if quick else SHAPES:
        if only not in shape:
            continue
        model = lens.wrap(random_model(shape), tokenizer())
        vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
        direction = Direction.from_vector(vector, lens.Site("resid_post", LAYER), model=model)
        for count in (1, 8):
            prompts = texts([LENGTH] * count)
            if ours(model, prompts, direction) != plain(model, prompts, direction.vector):
                raise SystemExit("the two disagree")
            runs = {
                "plain generate": partial(plain, model, prompts, None),
                BASE: partial(plain, model, prompts, direction.vector),
                "steering.apply": partial(ours, model, prompts, direction),
            }
            rounds = 3 if quick else ROUNDS
            seconds = interleave({name: partial(cpu_seconds, call) for name, call in runs.items()}, rounds=rounds)
            rows = [
                {
                    "way": name,
                    "CPU ms": 1000 * sorted(taken)[rounds // 2],
                    "× with a hook": "1" if name == BASE else ratio(taken, seconds[BASE]),
                }
                for name, taken in seconds.items()
            ]
            yield {f"{shape}, {count} prompts of {LENGTH} tokens, {NEW} new tokens": rows}


def main() -> None:
    given = arguments("generate", __doc__.splitlines()[0])
    write("generate", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
