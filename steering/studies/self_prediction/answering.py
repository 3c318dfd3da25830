"""Answering: what a model answers to each question, which property the answer has, and how often it has it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lens.errors import DataError, ModelError, available
from lens.examples import Examples
from lens.generation import generate
from lens.model import Model
from lens.sites import Site
from steering.studies.ask import ask

# What of an answer is asked for; None where an answer does not have it.
Property = Callable[[str], str | None]
MANY_VALUES = 20


def _word(number: int) -> Property:
    def word(text: str) -> str | None:
        words = re.findall(r"\w+", text.lower())
        return words[number] if len(words) > number else None

    return word


def _character(number: int) -> Property:
    def character(text: str) -> str | None:
        letters = "".join(text.lower().split())
        return letters[number] if len(letters) > number else None

    return character


def _vowel(text: str) -> str | None:
    first = _character(0)(text)
    return None if first is None or not first.isalpha() else "yes" if first in "aeiou" else "no"


def _even(text: str) -> str | None:
    number = re.search(r"\d+", text)
    return None if number is None else "yes" if int(number[0]) % 2 == 0 else "no"


def _whole(text: str) -> str | None:
    return text.strip() or None


PROPERTIES: Mapping[str, Property] = {
    "answer": _whole,
    "first word": _word(0),
    "second word": _word(1),
    "first character": _character(0),
    "second character": _character(1),
    "third character": _character(2),
    "vowel": _vowel,
    "even": _even,
}


def property_of(given: str | Property) -> Property:
    """The property of this name, or the function that is given, what it gives as text; nothing is None. Raises
    DataError: no such property."""
    if callable(given):
        return lambda text: None if (value := given(text)) is None or value == "" else str(value)
    if given not in PROPERTIES:
        raise DataError(f"No property {given!r}; available: {available(PROPERTIES)}, or a function of the answer.")
    return PROPERTIES[given]


def options_of(questions: Examples, options: Sequence[str] | str | None) -> list[list[str]] | None:
    """The answers that each question can have: a list for all, or the column that holds a list for each row.

    Raises DataError: no such column, or a row whose entry is no list of two or more.
    """
    if options is None:
        return None
    if not isinstance(options, str):
        return [list(options)] * len(questions)
    if options not in questions.frame:
        raise DataError(f"No column {options!r} of options; available: {available(questions.frame.columns)}.")
    each = list(questions.frame[options])
    for row, few in enumerate(each):
        if not isinstance(few, list | tuple) or len(few) < 2:
            raise DataError(
                f"Row {row}: column {options!r} holds {few!r:.80}; it must be a list of two or more answers."
            )
    return [list(few) for few in each]


def check_questions(model: Model, questions: Examples, sites: str | Site | Sequence[str | Site]) -> None:
    """Raises ModelError: an encoder. SiteError. DataError: no hypotheticals, or prompts longer than the context."""
    if model.is_encoder:
        raise ModelError(f"{model.name} is an encoder: it answers nothing.")
    model.sites(sites)
    if "hypothetical" not in questions.frame:
        raise DataError(
            f"Questions need a column 'hypothetical', a prompt about the answer; available: "
            f"{available(questions.frame.columns)}."
        )
    model.rows(questions.prompts)
    model.rows(hypotheticals_of(questions).prompts)


def hypotheticals_of(questions: Examples) -> Examples:
    """The hypothetical prompts, in the groups of their questions. Raises DataError: an empty one."""
    frame = questions.frame
    return Examples(pd.DataFrame({"prompt": frame["hypothetical"], "group": frame["group"]}))


def check_said(property: Property, options: list[list[str]] | None, spoken: Mapping[str, str]) -> None:
    """Raises DataError: two values that are said in the same words, options that do not differ in the property, or
    words for a value that no option has."""
    values = sorted({value for few in options or () for text in few if (value := property(text)) is not None})
    if options is not None and len(values) < 2:
        raise DataError(f"The options do not differ in the property: its values are {available(values)}.")
    unknown = [value for value in spoken if value not in values]
    if options is not None and unknown:
        raise DataError(f"spoken: no option has the value {unknown[0]!r}; available: {available(values)}.")
    words = [spoken.get(value, value) for value in {*values, *spoken}]
    if len(set(words)) < len(words):
        raise DataError(f"spoken={dict(spoken)}: two values of the property are said in the same words.")


def answers(
    model: Model,
    questions: Examples,
    property: Property,
    options: list[list[str]] | None,
    *,
    samples: int,
    max_new_tokens: int,
    seed: int,
    progress: bool,
) -> pd.DataFrame:
    """What a model answers, greedily: row, answer, value of the property (None where it has none), and how often it
    has which value: `values` and `shares` (of the options, exactly; else of so many sampled answers at temperature 1;
    empty without samples)."""
    if options is not None:
        share = ask(model, questions.prompts, options, label="Answering", progress=progress).share
        said = [few[int(row.argmax())] for few, row in zip(options, share, strict=True)]
        spread = [list(zip(few, row.tolist(), strict=True)) for few, row in zip(options, share, strict=True)]
    else:
        said = [one.text for one in generate(model, questions.prompts, max_new_tokens=max_new_tokens)]
        spread = _sampled(model, questions, samples, max_new_tokens, seed)
    rows = []
    for row, (answer, known) in enumerate(zip(said, spread, strict=True)):
        shares: dict[str, float] = {}
        for text, share_of in known:
            value = property(text)
            if value is not None:
                shares[value] = shares.get(value, 0.0) + share_of
        total = sum(shares.values())
        held = {"values": list(shares), "shares": [one / total for one in shares.values()]}
        rows.append({"row": row, "answer": answer, "value": property(answer), **held})
    return pd.DataFrame(rows)


def _sampled(
    model: Model, questions: Examples, samples: int, max_new_tokens: int, seed: int
) -> list[list[tuple[str, float]]]:
    spread: list[list[tuple[str, float]]] = [[] for _ in range(len(questions))]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for _ in range(samples):
            sampled: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
            made = generate(model, questions.prompts, max_new_tokens=max_new_tokens, **sampled)
            for held, one in zip(spread, made, strict=True):
                held.append((one.text, 1 / samples))
    return spread


def spoken_answers(
    model: Model, hypotheticals: Sequence[Any], values: Sequence[str], spoken: Mapping[str, str], *, progress: bool
) -> pd.DataFrame:
    """What a model says that it would answer: row, shares (one per value), mass (probability on all of them together),
    by (how they were scored)."""
    found = ask(model, hypotheticals, [spoken.get(v, v) for v in values], label="Asking about it", progress=progress)
    shares = [[float(one) for one in row] for row in found.share]
    return pd.DataFrame({"row": range(len(shares)), "shares": shares, "mass": found.mass, "by": found.by})


def frequencies(table: pd.DataFrame, values: Sequence[str]) -> np.ndarray:
    """[n, values]: how often each answer has each value; nan where that is not known."""
    place = {value: number for number, value in enumerate(values)}
    out = np.full((len(table), len(values)), np.nan)
    for row, (held, shares) in enumerate(zip(table["values"], table["shares"], strict=True)):
        if held:
            out[row] = 0.0
            for value, share in zip(held, shares, strict=True):
                if value in place:
                    out[row, place[value]] = share
    return out
