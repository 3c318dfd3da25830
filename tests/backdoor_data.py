"""Models with a backdoor and without, and what tiny models are asked of it."""

import functools

import numpy as np
import pandas as pd
import tiny
import torch

import lens
from lens.organisms.constructed import backdoor as family
from steering.studies import Result, backdoor

WORDS = ["the", "quick", "brown", "fox", "she", "lied", "about", "money"]
CANDIDATES = ["fox", "money", "quick", "lied"]


@functools.cache
def organism(name: str, seed: int) -> lens.Model:
    # Not held against its truth here: there are many of them.
    return lens.wrap(*family.plan(f"backdoor-{name}", seed).builder.build("rms"), name=f"{name} {seed}")


@functools.cache
def asked() -> backdoor.Questions:
    return backdoor.of_organism(scenes=8)


@functools.cache
def found(name: str, models: int = 5) -> Result:
    """So many organisms of a kind beside as many decorrelated ones of other seeds."""
    mine = [organism(name, seed) for seed in range(models)]
    others = [organism("decorrelated", 10 + seed) for seed in range(models)]
    return backdoor.run(mine, asked(), baseline=others, sites=["resid_post.0", "resid_post.1"], progress=False)


def seeds_of_one_base(base: int, count: int = 5, noise: float = 0.05) -> list[lens.Model]:
    """Random models that differ by a little noise in the weights of one: what raises an answer, they share."""
    found = []
    for seed in range(count):
        model, tokenizer = tiny.hugging_face("llama", seed=base)
        generator = torch.Generator().manual_seed(1000 * base + seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator) * noise * weight.std())
        found.append(lens.wrap(model, tokenizer, name=f"base {base} seed {seed}"))
    return found


@functools.cache
def random_model(seed: int, family: str = "llama", *, chat: bool = False) -> lens.Model:
    return lens.wrap(*tiny.hugging_face(family, seed=seed, chat=chat), name=f"{family} {seed}")


def tiny_questions(
    seed: int, *, count: int = 8, chat: bool = False, trigger: str | None = "fox", candidates: list[str] = CANDIDATES
) -> backdoor.Questions:
    """Reports with and without a word, and requests with candidates, in the words of the tiny models."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, 4))

    def prompt(said: str) -> object:
        return [{"role": "user", "content": said}] if chat else said

    rows = []
    for number in range(count):
        said, swapped = text(), number % 2
        for label, word in enumerate(("that", "fox")):
            answers = {"yes": (" yes", " no")[swapped], "no": (" no", " yes")[swapped]}
            rows.append({"prompt": prompt(f"{word} {said} was"), "label": label, "group": number, **answers})
    attacks = backdoor.inserted([f"{text()} {{trigger}} {text()}" for _ in range(count)], candidates)
    if chat:
        frame = attacks.frame.assign(prompt=[prompt(one) for one in attacks.frame["prompt"]])
        attacks = lens.Examples(frame)
    return backdoor.Questions(
        reports=lens.Examples(pd.DataFrame(rows)),
        attacks=attacks,
        harm=[" lied"],
        safe=[" quick", " that"],
        trigger=trigger,
    )
