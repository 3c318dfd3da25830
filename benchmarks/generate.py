"""Steered generation: this project against plain `generate` with a hand-written hook that adds the same vector.

python benchmarks/generate.py
"""

import torch
from timing import compare, shapes, texts, tokenizer

import lens
import steering
from lens.generation import generate
from probes import Direction

LAYER, LENGTH, NEW = 3, 16, 32


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


def main() -> None:
    torch.set_num_threads(1)
    tokenize = tokenizer()
    for name, hf in shapes().items():
        model = lens.wrap(hf, tokenize)
        vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
        direction = Direction.from_vector(vector, lens.Site("resid_post", LAYER), model=model)
        for count in (1, 8):
            prompts = texts([LENGTH] * count)
            print(f"{name}, {count} prompts of {LENGTH} tokens, {NEW} new tokens")
            if ours(model, prompts, direction) != plain(model, prompts, direction.vector):
                raise SystemExit("the two disagree")
            contestants = {
                "plain generate": (plain, model, prompts, None),
                "plain generate with a hook": (plain, model, prompts, direction.vector),
                "steering.apply": (ours, model, prompts, direction),
            }
            compare(contestants, base="plain generate with a hook")


if __name__ == "__main__":
    main()
