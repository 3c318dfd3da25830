"""What the in-context organism does: labels reported right and sentences made to order, by the number of examples.

Chance is .5 in every figure: of two classes, each is drawn for half of the sentences. Intervals are bootstrapped over
episodes (95 %).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lens.intervals import mean_interval
from lens.organisms.incontext.baseline import by_classes, by_words
from lens.organisms.incontext.episodes import TRAINED, Episode, Form, control_text, episode
from lens.organisms.incontext.lexicon import ATTRIBUTES, HELD_ATTRIBUTE, TAGS, Split
from lens.organisms.speaker import Speaker

__all__ = ["CURVE", "answers", "curve", "episodes", "made_to_order", "report", "summary"]

SHOTS = 17
# Examples before the one that is asked, and the numbers of them that are told together.
CURVE: dict[str, tuple[int, int]] = {
    "0": (0, 0),
    "1": (1, 1),
    "2": (2, 2),
    "3": (3, 3),
    "4-5": (4, 5),
    "6-8": (6, 8),
    "9-12": (9, 12),
    "13-16": (13, 16),
}
ENOUGH = 8
_LONGEST = 14


def episodes(
    attribute: str, count: int, *, split: Split = "train", words: int = 0, control: float = 0.0, seed: int = 0
) -> list[Episode]:
    """Episodes about one attribute, of sentences or of bags of words."""
    rng = random.Random(f"{attribute} {split} {words} {control} {seed}")
    form = Form(shots=SHOTS, words=words, control=control, tokens=256)
    return [episode(rng, form, attribute=attribute, split=split) for _ in range(count)]


def answers(speaker: Speaker, made: Sequence[Episode], *, rows: int = 32) -> pd.DataFrame:
    """One row a shot: episode, task, examples before it, share.

    share: the probability of the right label among the two; or, where a sentence is asked for, of the words of the
    right class among those of both, where the word stands.
    """
    found: list[dict[str, Any]] = []
    for start in range(0, len(made), rows):
        part = made[start : start + rows]
        mass = speaker.logits([speaker.ids(one.document.text) for one in part]).softmax(-1)
        for number, (one, row) in enumerate(zip(part, mass, strict=True), start):
            classes = ATTRIBUTES[one.attribute].words("all")
            for before, shot in enumerate(one.shots):
                options = [(x,) for x in one.labels] if shot.task == "report" else [classes[x] for x in one.classes]
                each = [float(row[shot.index - 1, [speaker.index[w] for w in words]].sum()) for words in options]
                share = each[shot.side] / sum(each)
                found.append({"episode": number, "task": shot.task, "examples": before, "share": share})
    return pd.DataFrame(found)


def made_to_order(speaker: Speaker, made: Sequence[Episode], *, examples: int = ENOUGH, seed: int = 0) -> pd.DataFrame:
    """Sentences said freely (temperature 1) for either label after `examples` of every episode.

    One row a sentence: episode, said, named (it has a word of the attribute), right (that word is of the class asked
    for; nan where none is named).
    """
    generator = torch.Generator().manual_seed(seed)
    asked = [(number, side) for number in range(len(made)) for side in (0, 1)]
    texts = []
    for number, side in asked:
        one = made[number]
        shots = [(" ".join(shot.sentence), one.labels[shot.side]) for shot in one.shots[:examples]]
        texts.append("<bos> " + control_text(shots, one.labels[side]))
    said: list[list[str]] = [[] for _ in texts]
    names = {number: word for word, number in speaker.index.items()}
    ends = {*TAGS, "<eos>", "<pad>"}
    going = list(range(len(texts)))
    for _ in range(_LONGEST):
        mass = torch.from_numpy(speaker.next_word([" ".join([texts[i], *said[i]]) for i in going]))
        drawn = torch.multinomial(mass, 1, generator=generator)[:, 0].tolist()
        still = []
        for i, number in zip(going, drawn, strict=True):
            if names[number] not in ends:
                said[i].append(names[number])
                still.append(i)
        going = still
        if not going:
            break
    rows = []
    for (number, side), words in zip(asked, said, strict=True):
        one = made[number]
        classes = ATTRIBUTES[one.attribute].words("all")
        hit = next((label for word in words for label, row in classes.items() if word in row), None)
        right = float("nan") if hit is None else float(hit == one.classes[side])
        rows.append({"episode": number, "said": " ".join(words), "named": float(hit is not None), "right": right})
    return pd.DataFrame(rows)


def curve(told: pd.DataFrame, value: str = "share") -> list[dict[str, Any]]:
    """A mean of one task's rows for every number of examples."""
    found = []
    for name, (low, high) in CURVE.items():
        part = told[told["examples"].between(low, high)]
        if len(part):
            found.append({"examples": name, **summary(part[value].to_numpy(), part["episode"].to_numpy())})
    return found


def summary(values: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Mean with its interval over groups, and how many values and groups there are."""
    kept = ~np.isnan(values)
    low, high = mean_interval(values, groups)
    value = float(values[kept].mean()) if kept.any() else float("nan")
    return {"value": value, "low": low, "high": high, "n": int(kept.sum()), "groups": len(set(groups[kept]))}


def report(speaker: Speaker, *, items: int = 100, seed: int = 0) -> pd.DataFrame:
    """Every figure: task, attribute, words (trained, held out), form, examples, value, low, high, n, groups.

    task: `report` (accuracy of the label), `report, by words` and `report, by classes` (the same of learners that see
    the text alone, see `baseline`), `control` (the word is of the class asked for, given the sentence before it),
    `control, free` (the same in a sentence said freely), `control, named` (it has such a word at all).
    """
    rows: list[dict[str, Any]] = []

    def add(task: str, name: str, words: str, form: str, figures: Sequence[dict[str, Any]]) -> None:
        rows.extend({"task": task, "attribute": name, "words": words, "form": form, **one} for one in figures)

    cases: list[tuple[str, Split, int]] = [(name, "train", 0) for name in ATTRIBUTES]
    cases += [(name, "held", 0) for name in TRAINED] + [(name, "train", 1) for name in TRAINED]
    cases += [(name, "held", 1) for name in TRAINED]
    for name, split, words in cases:
        kind = "held-out attribute" if name == HELD_ATTRIBUTE else {"train": "trained", "held": "held out"}[split]
        form = "words" if words else "sentences"
        made = episodes(name, items, split=split, words=words, seed=seed)
        told = answers(speaker, made)
        told["right"] = (told["share"] > 0.5).astype(float)
        add("report", name, kind, form, curve(told, "right"))
        if words or (split == "held"):
            continue
        readers: dict[str, Callable[[Episode], list[float]]] = {"words": by_words, "classes": by_classes}
        for reader, learner in readers.items():
            told["right"] = [hit for one in made for hit in learner(one)]
            add(f"report, by {reader}", name, kind, form, curve(told, "right"))
        mixed = answers(speaker, episodes(name, items, control=0.5, seed=seed))
        add("control", name, kind, form, curve(mixed[mixed["task"] == "control"]))
        free = made_to_order(speaker, made, seed=seed)
        for column, task in (("right", "control, free"), ("named", "control, named")):
            figure = summary(free[column].to_numpy(), free["episode"].to_numpy())
            add(task, name, kind, form, [{"examples": str(ENOUGH), **figure}])
    return pd.DataFrame(rows)
