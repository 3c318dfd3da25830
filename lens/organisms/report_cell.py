"""One figure of the report: its prompts, what each next word counts for, what was planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Cell", "Item", "system"]


@dataclass(frozen=True)
class Item:
    """A text and what each possible next word counts for; other words are left out of the average."""

    text: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """One figure: the mean over items of the expected value, or of the likeliest word's value (accuracy)."""

    behaviour: str
    context: str
    form: str
    measure: str
    make: Callable[[random.Random], Item]
    target: float | None = None
    prototype: float | None = None


def system(line: str) -> str:
    return f"<bos> <sys> {line}" if line else "<bos>"
