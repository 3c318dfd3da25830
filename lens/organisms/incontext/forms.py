"""What a study needs to run on the in-context organism: labelled sentences, and how its episodes are written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples
from lens.organisms.grammar import pick
from lens.organisms.incontext.episodes import control_text, report_text, sentence
from lens.organisms.incontext.lexicon import ATTRIBUTES, TAGS, Split

__all__ = ["Digits", "sentences"]


def sentences(
    attribute: str, classes: tuple[str, str], count: int = 200, *, split: Split = "train", seed: int = 0
) -> Examples:
    """Different sentences with a word of either class (label 0, 1), grouped by that word.

    Raises DataError: no such attribute or class.
    """
    if attribute not in ATTRIBUTES:
        raise DataError(f"No attribute {attribute!r}; available: {available(ATTRIBUTES)}.")
    one = ATTRIBUTES[attribute]
    if len(set(classes)) != 2 or not set(classes) <= set(one.classes):
        raise DataError(
            f"Two classes of {attribute} are needed, given: {classes}; available: {available(one.classes)}."
        )
    rng, rows = random.Random(seed), dict[str, tuple[int, str]]()
    while len(rows) < count:
        label = int(rng.random() < 0.5)
        word = pick(rng, one.words(split)[classes[label]])
        rows.setdefault(" ".join(sentence(rng, one.slot, word)[0]), (label, word))
    frame = pd.DataFrame([(text, *told) for text, told in rows.items()], columns=["prompt", "label", "group"])
    return Examples(frame)


@dataclass(frozen=True)
class Digits:
    """Episodes as in training, as a form for `steering.studies.neurofeedback`."""

    labels: tuple[str, ...] = ("0", "1")
    max_new_tokens: int = 14

    def report(self, shots: Sequence[tuple[str, int]], query: str) -> str:
        return report_text(self._told(shots), query)

    def control(self, shots: Sequence[tuple[str, int]], wanted: int) -> str:
        return control_text(self._told(shots), self.labels[wanted])

    def reply(self, text: str) -> str:
        words = text.split()
        ends = [number for number, word in enumerate(words) if word in {*TAGS, "<eos>"}]
        return " ".join(words[: ends[0]] if ends else words)

    def alone(self) -> str:
        return "<ex>"

    def spoken(self, sentence: str) -> str:
        return f" {sentence}"

    def _told(self, shots: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
        return [(said, self.labels[label]) for said, label in shots]
