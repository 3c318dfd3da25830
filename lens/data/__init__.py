"""Labelled data sets for the shipped organism; `cards.json` says what each row means and where to read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples

__all__ = ["card", "load", "names"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped data sets.

    >>> "honesty" in names()
    True
    """
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.jsonl")))


def card(name: str) -> dict[str, Any]:
    """What label 1 means, the columns, the span to read, what is held out, and the bag-of-words baseline.

    Raises DataError for an unknown name.
    """
    _file(name)
    return dict(json.loads((_FOLDER / "cards.json").read_text(encoding="utf-8"))[name])


def load(name: str) -> Examples:
    """A shipped data set as `Examples`: prompt, label, group and the columns that its card names.

    Raises DataError for an unknown name.
    """
    lines = _file(name).read_text(encoding="utf-8").splitlines()
    return Examples(pd.DataFrame([json.loads(line) for line in lines]))


def _file(name: str) -> Path:
    """The file of a data set."""
    file = _FOLDER / f"{name}.jsonl"
    if not file.is_file():
        raise DataError(f"No data set {name!r}; available: {available(names())}.")
    return file
