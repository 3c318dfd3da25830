"""Scenes: what all constructed organisms share: words that mean nothing, questions, and tables of prompts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lens.examples import Examples
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.truth import Behaviour, Effect, FalseClaim, Planted, Role, Threshold

# One word each, crossed at random with everything that matters.
PLACES = (
    "river",
    "market",
    "harbour",
    "forest",
    "bridge",
    "tower",
    "garden",
    "mill",
    "station",
    "island",
    "valley",
    "chapel",
)
THINGS = (
    "basket",
    "ladder",
    "mirror",
    "hammer",
    "kettle",
    "candle",
    "carpet",
    "bucket",
    "saddle",
    "ribbon",
    "pillow",
    "barrel",
)
PLAIN = ("the", "near", "with", "and", ",", "?", "some", "any")
# A question is held twice as strongly as other features: a smaller readout rounds less.
SILENT, QUESTION, ASKED, ENDED = -6.0, 2.0, 10.0, 40.0
SCENES = 27
Row = dict[str, Any]


@dataclass
class Plan:
    """What a family hands over: the circuits, and what is true of them."""

    role: Role
    what: str
    builder: Builder
    examples: Examples
    directions: list[Planted] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    behaviours: list[Behaviour] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    false_claims: list[FalseClaim] = field(default_factory=list)
    structure: dict[str, Any] = field(default_factory=dict)

    def plant(
        self, feature: str, site: str, *, column: str, spread: float, cosine: float = 1.0, decodable: bool | None = None
    ) -> None:
        """Record a feature of the builder as a planted direction (see `Planted`); without `spread`, its cosine is 0
        and, unless said otherwise, nothing is decodable."""
        vector = tuple(self.builder.vector(feature).float().tolist())
        told = spread != 0 if decodable is None else decodable
        self.directions.append(Planted(feature, site, vector, column, spread, cosine if spread else 0.0, told))

    def deny(self, claim: str, truth: str) -> None:
        self.false_claims.append(FalseClaim(claim, truth))


def stage(seed: int, questions: Mapping[str, tuple[str, ...]]) -> Builder:
    """A builder with the shared words, a context that differs by text, and questions.

    questions: the word that asks → its answers, which questions may share. Block 0 mixes the words' identities into
    every token; block 1 carries what was asked to the closing `?`, where the answers then hold all probability: their
    logits are about 14, `<eos>` has 0 and other words −6. After an answer `<eos>` has 40.
    """
    b = Builder(seed)
    b.feature("asked", "answered")
    b.word(*PLAIN)
    b.word(*PLACES, *THINGS, identity=2.0)
    b.mix(0)
    moves = {}
    for question, answers in questions.items():
        b.feature(f"asks {question}", f"asked {question}")
        b.word(question, **{"asked": 1.0, f"asks {question}": QUESTION})
        for answer in answers:
            if answer not in b.words:
                b.word(answer, answered=1.0)
            b.readout(answer, **{f"asked {question}": ASKED})
        moves[f"asks {question}"] = f"asked {question}"
    b.carry(1, "asked", moves)
    b.readout("<eos>", answered=ENDED)
    return b


def hush(b: Builder) -> None:
    """Give every word a low logit; called when all words are there."""
    for word in b.words:
        b.readout(word, bias=SILENT)


def carried(
    b: Builder,
    name: str,
    cues: Mapping[int, Sequence[str]],
    *,
    size: float = 1.0,
    carry: bool = True,
    near: Mapping[str, float] | None = None,
) -> None:
    """A feature `name` that words bring into the text: amount (times `size`) → words. An attention head of block 0
    takes it to every later token (unless `carry` is False: then the words are there and nothing follows). near: as in
    `Builder.feature`."""
    b.feature(f"{name} cue", f"{name} word")
    b.feature(name, near=near)
    for amount, words in cues.items():
        b.word(*words, **{f"{name} cue": 1.0, f"{name} word": size * amount})
    if carry:
        b.carry(0, f"{name} cue", {f"{name} word": name})


def contrast(b: Builder, pair: tuple[str, str], *, bias: float = 0.0, **gains: float) -> None:
    """Read features out into one answer against the other: `logit(first) − logit(second) = bias + Σ gain · feature`."""
    for word, sign in zip(pair, (0.5, -0.5), strict=True):
        b.readout(word, bias=sign * bias, **{name: sign * gain for name, gain in gains.items()})


def table(rows: Sequence[Row], text: Callable[[Row], str], *, seed: int, label: str) -> Examples:
    """Rows in random order, dealt out over the scenes; a scene (its place and thing) is the group.

    text: the prompt of a row, with `{place}` and `{thing}` left open. label: the column whose highest value is 1, its
    lowest 0; values between have no label.
    """
    random = np.random.default_rng(seed)
    scenes = random.permutation(len(PLACES) * len(THINGS))[:SCENES]
    dealt = []
    for number, chosen in enumerate(random.permutation(len(rows))):
        row, scene = rows[chosen], scenes[number % SCENES]
        names = {"place": PLACES[scene % len(PLACES)], "thing": THINGS[scene // len(PLACES)]}
        dealt.append({"prompt": text(row).format(**names), **row, "group": f"{names['place']} {names['thing']}"})
    return Examples(labelled(pd.DataFrame(dealt), label))


def labelled(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with `label` 1 where a column is highest, 0 where it is lowest, and missing between."""
    value = frame[column]
    label = pd.Series(pd.NA, index=frame.index, dtype="Int64")
    label[value == value.max()] = 1
    label[value == value.min()] = 0
    return frame.assign(label=label)


def pick(seed: int) -> Callable[[Sequence[str]], str]:
    """A seeded choice among words that mean the same."""
    random = np.random.default_rng(seed)
    return lambda words: str(words[int(random.integers(len(words)))])
