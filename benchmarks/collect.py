"""Collection of one layer, text to vectors: this project against a plain forward hook with early stop.

python benchmarks/collect.py
"""

import random

import torch
from timing import compare, shapes, texts, tokenizer

import lens

LAYER, BATCH = 3, 16


class Stop(Exception):
    pass


def plain_hook(hf, tokenize, prompts: list[str], layer: int) -> torch.Tensor:
    """What one would write by hand: tokenise a batch, hook one block, stop there, keep the last token."""
    blocks = hf.model.layers if hasattr(hf, "model") else hf.transformer.h
    kept: list[torch.Tensor] = []

    def hook(module, args, output):
        kept.append(output[0] if isinstance(output, tuple) else output)
        raise Stop

    handle = blocks[layer].register_forward_hook(hook)
    out = []
    for start in range(0, len(prompts), BATCH):
        batch = tokenize(prompts[start : start + BATCH], return_tensors="pt", padding=True)
        try:
            with torch.no_grad():
                hf(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        except Stop:
            last = batch.attention_mask.sum(dim=1) - 1
            h = kept.pop()
            out.append(h[torch.arange(len(h)), last].clone())
    handle.remove()
    return torch.cat(out)


def ours(model: lens.Model, prompts: list[str], sites: str) -> lens.Activations:
    """The same through this project, in batches of as many tokens."""
    examples = lens.Examples.from_texts(prompts)
    return lens.collect(model, examples, sites=sites, batch_tokens=BATCH * 64, progress=False)


def main() -> None:
    torch.set_num_threads(1)
    rng = random.Random(0)
    workloads = {
        "64 texts of 64 tokens": texts([64] * 64),
        "64 texts of 8 to 120 tokens": texts([rng.randrange(8, 121) for _ in range(64)]),
    }
    tokenize = tokenizer()
    for name, hf in shapes().items():
        model = lens.wrap(hf, tokenize)
        for workload, prompts in workloads.items():
            print(f"{name}, {workload}, block {LAYER} of 6, last token")
            site = f"resid_post.{LAYER}"
            found = ours(model, prompts, site)[site]
            error = (found - plain_hook(hf, tokenize, prompts, LAYER)).norm() / found.norm()
            if error > 1e-5:
                raise SystemExit(f"the two disagree: {error}")
            contestants = {
                "plain forward hook with early stop": (plain_hook, hf, tokenize, prompts, LAYER),
                "lens.collect, one site": (ours, model, prompts, site),
                "lens.collect, every resid_post": (ours, model, prompts, "resid_post"),
            }
            compare(contestants, base="plain forward hook with early stop")


if __name__ == "__main__":
    main()
