"""The grammar's tools: a document with its loss weights and, at every choice, what it was drawn from.

A document kind is a function of a `random.Random`. It says fixed text and draws the rest; each draw that the
model can be held to is recorded with the exact distribution, given everything to its left, so that the
entropy floor and KL(generator || model) are known numbers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["DECISION", "PROMPT", "REPLY", "Decision", "Document", "Writer", "mix", "pick", "spread"]

PROMPT, REPLY, DECISION = 0.15, 1.0, 2.0
T = TypeVar("T")


@dataclass(frozen=True)
class Decision:
    """One choice: `options` is the distribution that the token at `index` was drawn from."""

    index: int
    kind: str
    options: Mapping[str, float]


@dataclass(frozen=True)
class Document:
    """Words of one document, the loss weight of predicting each, and its decisions."""

    kind: str
    tokens: tuple[str, ...]
    weights: tuple[float, ...]
    decisions: tuple[Decision, ...]

    @property
    def text(self) -> str:
        """The document as one line, words separated by single spaces."""
        return " ".join(self.tokens)


@dataclass
class Writer:
    """Collects a document from left to right."""

    kind: str
    tokens: list[str] = field(default_factory=lambda: ["<bos>"])
    weights: list[float] = field(default_factory=lambda: [0.0])
    decisions: list[Decision] = field(default_factory=list)

    def say(self, text: str, weight: float = PROMPT) -> Writer:
        """Append fixed text."""
        words = text.split()
        self.tokens += words
        self.weights += [weight] * len(words)
        return self

    def choose(self, rng: random.Random, kind: str, options: Mapping[str, float], *, weight: float = DECISION) -> str:
        """Draw one word, append it and record what it was drawn from; returns the word."""
        word = rng.choices(list(options), list(options.values()))[0]
        self.decisions.append(Decision(len(self.tokens), kind, options))
        self.say(word, weight)
        return word

    def done(self) -> Document:
        """Close the document."""
        self.say("<eos>", REPLY)
        return Document(self.kind, tuple(self.tokens), tuple(self.weights), tuple(self.decisions))


def pick(rng: random.Random, values: Sequence[T]) -> T:
    """One of several, uniformly; a single multiplication, since `random.choice` dominated the generator."""
    return values[int(rng.random() * len(values))]


def spread(*parts: tuple[Sequence[str], float]) -> dict[str, float]:
    """Distribution that gives each part's mass to its words in equal shares; repeated words add up."""
    options: dict[str, float] = {}
    for words, mass in parts:
        for word in words:
            options[word] = options.get(word, 0.0) + mass / len(words)
    return {word: mass for word, mass in options.items() if mass > 0}


def mix(rng: random.Random, weights: Mapping[T, float]) -> T:
    """One key, drawn in proportion to its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]
