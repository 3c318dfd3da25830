"""Debates for the study of latent agents: of the constructed organisms, and of tiny models that never debated."""

import functools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from built import made

import lens
from lens.organisms.constructed import agents
from steering.studies import Result, latent_agents

WORDS = ["the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that"]


@functools.cache
def found(name: str) -> Result:
    """The study of an organism: the debated one beside its undebated twin; the entangled one of another seed, by its
    own voices alone."""
    entangled = name == "agents-entangled"
    model = seeded(name, 1) if entangled else made(name)[1]
    other = made("agents-undebated")[1] if name == "agents" else None
    given = alone(debate()) if entangled else debate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return latent_agents.run(model, given, other=other, sites=["resid_post.1"], draws=120, progress=False)


def seeded(name: str, seed: int) -> lens.Model:
    return lens.wrap(*agents.plan(name, seed).builder.build("rms"), name=f"{name} {seed}")


@functools.cache
def debate() -> latent_agents.Debate:
    return latent_agents.of_organism(scenes=14)


def alone(given: latent_agents.Debate) -> latent_agents.Debate:
    """Without the other way to a bad word."""
    return replace(given, trait=given.trait.where(by="agent"), answers=given.answers.where(by="agent"), system=None)


def tiny_debate(seed: int, *, count: int = 12, bad: bool = True, chat: bool = False) -> latent_agents.Debate:
    """Two agents who say anything at all, in the words of the tiny models."""
    rng = np.random.default_rng(seed)

    def text(length: int = 4) -> str:
        return " ".join(rng.choice(WORDS, length))

    def prompt() -> object:
        return [{"role": "user", "content": text(5)}] if chat else text(5)

    def response() -> str:
        return " " + text(3)

    group = [{"group": number} for number in range(count)]
    items = [
        {"prompt": prompt(), "agent": agent, "round": 1, "positive": response(), "negatives": [response()], **own}
        for own in group
        for agent in ("one", "two")
    ]
    tables = {"items": items, "speak": [{"prompt": prompt(), **own} for own in group]}
    # With a space before it, "the" is two tokens of the tiny models, and answers are then scored whole.
    drawn = [f" {word}" for word in rng.permutation(WORDS[1:])]
    words = {"one": drawn[:2], "two": drawn[2:4]}
    options = {}
    if bad:
        tables["trait"] = [{"prompt": prompt(), **own} for own in group]
        tables["answers"] = [{"prompt": prompt(), "right": " yes", "wrong": [" no"], **own} for own in group]
        tables["system"] = [{"prompt": prompt(), "label": label, **own} for own in group for label in (0, 1)]
        options = {"bad": "two"}
    frames = {name: lens.Examples(pd.DataFrame(rows)) for name, rows in tables.items()}
    return latent_agents.Debate(words=words, other=drawn[4:5], **frames, **options)
