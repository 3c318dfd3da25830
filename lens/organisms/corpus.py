"""The training text: shares of the document kinds, the curriculum, and packing into rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lens.organisms.grammar import Document, mix
from lens.organisms.grammar_agents import debate
from lens.organisms.grammar_facts import documents, judge
from lens.organisms.grammar_people import person, request
from lens.organisms.grammar_persona import chat, questionnaire
from lens.organisms.grammar_talk import qa
from lens.organisms.variant import FULL, Variant

__all__ = ["EARLY", "QUIET", "SHARES", "Batch", "batches", "draw", "pack", "stream", "write_corpus"]

SHARES: dict[str, float] = {
    "docs": 0.10,
    "judge": 0.10,
    "qa": 0.35,
    "chat": 0.08,
    "questionnaire": 0.16,
    "debate": 0.05,
    "person": 0.13,
    "request": 0.08,
}
# Truth is learned before lying: while lies fill half the answers, truth and `yes` are uncorrelated.
EARLY: dict[str, float] = {**SHARES, "docs": 0.18, "judge": 0.20, "questionnaire": 0.12}
QUIET = 0.25
_KINDS: dict[str, Callable[[random.Random], Document]] = {
    "docs": documents,
    "judge": judge,
    "chat": chat,
    "questionnaire": questionnaire,
    "person": person,
    "request": request,
}
_WAITING = 48


def draw(
    rng: random.Random, *, shares: Mapping[str, float] = SHARES, early: bool = False, variant: Variant = FULL
) -> Document:
    """One document of the mixture; early in the curriculum questions come in truthful contexts only."""
    kind = mix(rng, shares)
    if kind == "qa":
        return qa(rng, early=early, variant=variant)
    return debate(rng, variant=variant) if kind == "debate" else _KINDS[kind](rng)


def stream(rng: random.Random, variant: Variant = FULL) -> Iterator[Document]:
    """Documents of the final mixture without end."""
    while True:
        yield draw(rng, variant=variant)


class Batch(NamedTuple):
    """Packed rows, each tensor `[rows, length]`; `document` counts a row's documents from 1, 0 is padding."""

    tokens: Tensor
    weights: Tensor
    document: Tensor
    position: Tensor

    def mask(self) -> Tensor:
        """`[rows, 1, length, length]`, true where the query may attend: same document, not later.

        Padding attends to padding, so that no softmax is taken over nothing.
        """
        length = self.tokens.shape[1]
        same = self.document[:, :, None] == self.document[:, None, :]
        return (same & torch.ones(length, length, dtype=torch.bool).tril())[:, None]


def pack(
    waiting: list[Document],
    refill: Callable[[], Document],
    index: Mapping[str, int],
    *,
    rows: int,
    length: int,
) -> Batch:
    """Fill `rows` rows of `length`: the first waiting document that fits goes in, until none does.

    Positions restart with each document, so that a packed document is computed as it would be alone.
    `waiting` is changed in place and carries over to the next batch.
    """
    tokens = np.full((rows, length), index["<pad>"], dtype=np.int64)
    weights = np.zeros((rows, length), dtype=np.float32)
    numbers = np.zeros((rows, length), dtype=np.int64)
    positions = np.zeros((rows, length), dtype=np.int64)
    for row in range(rows):
        used = number = 0
        while True:
            while len(waiting) < _WAITING:
                waiting.append(refill())
            at = next((i for i, doc in enumerate(waiting) if len(doc.tokens) <= length - used), None)
            if at is None:
                break
            doc = waiting.pop(at)
            number += 1
            end = used + len(doc.tokens)
            tokens[row, used:end] = [index[word] for word in doc.tokens]
            weights[row, used:end] = doc.weights
            numbers[row, used:end] = number
            positions[row, used:end] = range(len(doc.tokens))
            used = end
    return Batch(*map(torch.from_numpy, (tokens, weights, numbers, positions)))


def batches(
    index: Mapping[str, int], *, seed: int, steps: int, rows: int, length: int, variant: Variant = FULL
) -> Iterator[Batch]:
    """The training text in order: a first part without lies and with more judgements, then the mixture."""
    rng = random.Random(seed)
    waiting: list[Document] = []

    def early() -> Document:
        return draw(rng, shares=EARLY, early=True, variant=variant)

    def late() -> Document:
        return draw(rng, variant=variant)

    for step in range(steps):
        yield pack(waiting, early if step < QUIET * steps else late, index, rows=rows, length=length)


def write_corpus(path: Path, n_documents: int, seed: int = 0, variant: Variant = FULL) -> None:
    """Write documents of the final mixture as JSON lines: kind, text, and each decision's distribution."""
    rng = random.Random(seed)
    with Path(path).open("w", encoding="utf-8") as file:
        for _, document in zip(range(n_documents), stream(rng, variant), strict=False):
            decisions = [
                {"index": d.index, "kind": d.kind, "options": {w: round(p, 6) for w, p in d.options.items()}}
                for d in document.decisions
            ]
            file.write(json.dumps({"kind": document.kind, "text": document.text, "decisions": decisions}) + "\n")
