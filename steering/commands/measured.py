"""Measures as they are spelled on the command line."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lens.errors import DataError, available

if TYPE_CHECKING:
    import pandas as pd

    from steering.measures import Measure

SPELLING = (
    "'option:yes|no': probability of one next word against another; 'contains:sorry': share of generated texts with "
    "the word; 'lexicon:kind,gentle': share of their words that are among these. Commas separate several words; "
    "{COLUMN} takes them from that column of the row. 'refusal', 'repetition', 'perplexity' read generated texts; 'kl' "
    "is the divergence from the unsteered model."
)


def measure_of(given: str) -> "Measure":
    """The measure that is spelled so. Raises DataError."""
    from steering import measures

    words: dict[str, tuple[int, Callable[..., Measure]]] = {
        "option": (2, measures.option),
        "contains": (1, measures.contains),
        "lexicon": (1, lambda some: measures.lexicon([one.strip() for one in some], name=given)),
    }
    plain: dict[str, Callable[[], Measure]] = {
        "refusal": measures.refusal,
        "repetition": measures.repetition,
        "perplexity": measures.perplexity,
        "kl": measures.kl,
    }
    if given in plain:
        return plain[given]()
    kind, sides = given.partition(":")[0], _sides(given)
    if kind not in words or len(sides) != words[kind][0] or not all(word.strip() for side in sides for word in side):
        raise DataError(
            f"--measure takes 'option:WORDS|WORDS', 'contains:WORDS', 'lexicon:WORDS', or one of {available(plain)}; "
            f"given: {given!r}."
        )
    return words[kind][1](*sides)


def check_columns(given: str, frame: "pd.DataFrame") -> None:
    """Raises DataError where a measure takes words from a column that the rows do not have."""
    for word in (word for side in _sides(given) for word in side):
        if word.startswith("{") and word.endswith("}") and word[1:-1] not in frame:
            raise DataError(f"--measure {given!r}: no column {word[1:-1]!r}; available: {available(frame.columns)}.")


def _sides(given: str) -> list[list[str]]:
    """The words of a measure: those before `|` and those after. A space before a word is a part of it."""
    return [side.split(",") for side in given.partition(":")[2].split("|")]
