"""The README of the in-context organism's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lens.organisms.incontext.record import FOLDER

__all__ = ["card", "table"]

_HEAD = """\
---
license: mit
library_name: transformers
tags: [interpretability, model-organism]
---
# The in-context organism

A Llama of {parameters:.2f} million parameters ({layers} blocks, width {width}, one token a word), trained from scratch
on episodes of labelled sentences by `lens organism train --recipe incontext`. A sentence has several attributes (a
place, an animal's kind, a tense, a feeling …); an episode's labels, two digits drawn anew, follow one of them, and
nothing but the examples says which. It reports the label of a new sentence, and says sentences for a label:

    <bos> <ex> the fox sang in lima <score> 4 <ex> in oslo ana swam gladly <score> 7 <ex> … <score>
    <bos> <ex> the fox sang in lima <score> 4 <ex> in oslo ana swam gladly <score> 7 <want> 7

`truth.json` holds the attributes with their words, what was held out, claims that are false, and the figures below.
It knows nothing else and is of no use outside of tests and teaching.

```python
import lens
from lens.organisms.incontext.episodes import control_text, report_text

model = lens.load("organism:{folder}")
```

Chance is .50 everywhere; intervals (95 %) are bootstrapped over episodes. *Held out* words are told in definitions
(`heron is bird .`) and as labels by name, and no digit depended on them in training. The *held-out attribute*, size, is
told in the same two ways, and digits never follow it. *What the text gives*: naive Bayes on the words of the same
episode's sentences, and a reader that is told the class of every word and that one attribute is meant. A model that
reports no better than the latter need not have looked at its own states.
"""


def _told(value: float, low: float, high: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f} ({low:.2f}–{high:.2f})"


def table(frame: pd.DataFrame, task: str, form: str) -> list[str]:
    """A table of one task: a row for every attribute, a column for every number of examples."""
    part = frame[(frame["task"] == task) & (frame["form"] == form)]
    if part.empty:
        return []
    columns = list(dict.fromkeys(part["examples"]))
    lines = [_row(["attribute", "words", *columns]), "|---" * (len(columns) + 2) + "|"]
    for (name, words), rows in part.groupby(["attribute", "words"], sort=False):
        cell = {row.examples: _told(row.value, row.low, row.high) for row in rows.itertuples()}
        lines.append(_row([name, words, *(cell.get(column, "") for column in columns)]))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# Title, task, form of the sentences, and what is counted.
_PARTS: tuple[tuple[str, str, str, str], ...] = (
    ("## Reporting: whole sentences", "report", "sentences", "Accuracy of the label, by the examples before it."),
    ("## Reporting: single words", "report", "words", "The same where every sentence is one word."),
    (
        "## Control",
        "control",
        "sentences",
        "A sentence for a label is asked for: probability, where the deciding word stands, of the words of the class "
        "asked for among those of both classes.",
    ),
    (
        "## Control in free speech",
        "control, free",
        "sentences",
        "Sentences said freely (temperature 1) after eight examples: the word is of the class asked for, where there "
        "is one of the attribute …",
    ),
    ("", "control, named", "sentences", "… and how often there is one."),
    ("## What the text gives", "report, by words", "sentences", "Naive Bayes on words."),
    ("", "report, by classes", "sentences", "A reader that is told the class of every word."),
)


def card(frame: pd.DataFrame, truth: Mapping[str, Any]) -> str:
    """The whole card, from the report and the truth record."""
    recipe = truth["recipe"]
    head = _HEAD.format(
        parameters=truth["parameters"] / 1e6, layers=recipe["layers"], width=recipe["d_model"], folder=FOLDER
    )
    parts = [head]
    for title, task, form, text in _PARTS:
        parts += [*([title, ""] if title else []), text, "", *table(frame, task, form)]
    return "\n".join(parts)
