"""Training of the in-context organism: from words that recur to whole sentences, in stages counted in steps.

Labels cannot be learned from whole sentences at once: without a step between, accuracy stays at chance. So first every
class is a single word that recurs within the episode (its label can be copied), then any word of its class, then a few
words of which one decides, then sentences. Every stage keeps some of the one before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from lens.organisms import train as trainer
from lens.organisms.corpus import Batch, pack
from lens.organisms.grammar import Document
from lens.organisms.incontext.episodes import Form, definitions, episode
from lens.organisms.incontext.lexicon import TAGS, vocabulary
from lens.organisms.incontext.record import record
from lens.organisms.words import SPECIALS, word_level

__all__ = ["RECIPE", "STAGES", "STEPS", "Stage", "batches", "tokenizer", "train"]

RECIPE: dict[str, Any] = {**trainer.RECIPE, "d_model": 64, "d_mlp": 176, "warm_up": 30, "tokens": 2048}
DEFINITIONS, STEPS = 0.08, 4200


@dataclass(frozen=True)
class Stage:
    """A part of the run: until which share of it, how long rows are, and what episodes are drawn from.

    words: so many words an episode's sentences have, one drawn an episode, 0 for whole sentences.
    """

    until: float
    length: int
    shots: tuple[int, int]
    words: tuple[int, ...]
    symbols: int = 10
    repeat: float = 0.0
    control: float = 0.0
    told: float = 0.2


_SENTENCES = (0, 0, 0, 0, 0, 1, 2, 3, 4)
# Sentences are reported first and made to order later: both at once, reporting takes far longer.
STAGES: tuple[Stage, ...] = (
    Stage(0.08, 64, (6, 6), (1,), symbols=4, repeat=1.0, told=0.0),
    Stage(0.16, 64, (5, 10), (1,), repeat=0.4, control=0.2),
    Stage(0.26, 128, (6, 12), (1, 2, 3), repeat=0.1, control=0.25),
    Stage(0.52, 128, (6, 12), _SENTENCES, control=0.2),
    Stage(0.88, 128, (6, 12), _SENTENCES, control=0.5),
    Stage(1.00, 256, (12, 24), _SENTENCES, control=0.5),
)


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; `tokenizer(text)` puts `<bos>` first."""
    return word_level((*SPECIALS, *TAGS, *vocabulary()), context=trainer.tokenizer.CONTEXT, tags=TAGS)


def _draw(rng: random.Random, stage: Stage) -> Document:
    """One document of a stage; how many of its shots are control is drawn anew for every episode."""
    if rng.random() < DEFINITIONS:
        return definitions(rng)
    form = Form(
        shots=rng.randint(*stage.shots),
        words=stage.words[int(rng.random() * len(stage.words))],
        symbols=stage.symbols,
        repeat=stage.repeat,
        control=2 * stage.control * rng.random(),
        told=stage.told,
        tokens=stage.length,
    )
    return episode(rng, form).document


def batches(index: Mapping[str, int], *, seed: int, steps: int) -> Iterator[Batch]:
    """The training text in order: as many tokens a step in every stage, in rows of its length."""
    rng = random.Random(seed)
    waiting: list[Document] = []
    current = STAGES[0]
    for step in range(steps):
        stage = next(one for one in STAGES if step < one.until * steps)
        if stage is not current:
            current, waiting = stage, []
        rows = RECIPE["tokens"] // stage.length
        yield pack(waiting, partial(_draw, rng, stage), index, rows=rows, length=stage.length)


def train(
    out: Path,
    *,
    seed: int = 0,
    steps: int = STEPS,
    threads: int | None = None,
    progress: trainer.Progress | None = None,
) -> dict[str, Any]:
    """Train the in-context organism and write its folder; returns the log that is also kept as `training.json`.

    Like `lens.organisms.train.train`: counted in steps, the same weights again on one machine with one number of
    threads, a loadable checkpoint every tenth of the run.
    """
    threads = trainer.threads_to_use() if threads is None else threads
    torch.set_num_threads(threads)
    index = tokenizer().get_vocab()
    model = trainer.architecture(len(index), seed=seed, recipe=RECIPE)
    log = {
        "variant": "incontext",
        "seed": seed,
        "steps": steps,
        "threads": threads,
        "recipe": {**RECIPE, "definitions": DEFINITIONS, "stages": [asdict(stage) for stage in STAGES]},
    }

    def keep(trained: Any, told: dict[str, Any]) -> dict[str, Any]:
        return trainer.save(trained, out, told, words=tokenizer, record=record)

    return trainer.fit(model, batches(index, seed=seed, steps=steps), log, keep, recipe=RECIPE, progress=progress)
