"""Measures: plain callables from what a model did to one number per row.

A measure says whether it needs next-token logits or generated text. Missing is nan: a row whose text is empty or
cut off has no value, and is counted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import DataError, available
from lens.generation import Generation
from lens.model import Model
from lens.tokens import encode


@dataclass(frozen=True)
class Outcome:
    """What the model did on some rows: `rows` are the table's rows, as dictionaries."""

    model: Model
    rows: Sequence[dict[str, Any]]
    logits: Float[Tensor, "n vocab"] | None = None
    texts: Sequence[Generation] | None = None


@dataclass(frozen=True)
class Measure:
    """One number per row. `coherence`, where the measure can tell it itself, is how far the model still answers
    the question at all: a share per row."""

    name: str
    needs: Literal["logits", "text"]
    value: Callable[[Outcome], Float[np.ndarray, " n"]]
    coherence: Callable[[Outcome], Float[np.ndarray, " n"]] | None = None
    max_new_tokens: int = field(default=32)

    def __call__(self, outcome: Outcome) -> Float[np.ndarray, " n"]:
        return self.value(outcome)


def option(positive: str | Sequence[str], negative: str | Sequence[str], *, name: str | None = None) -> Measure:
    """Probability of one answer against another, from the logits of the next token.

        P(positive) / (P(positive) + P(negative))

    Each side is a text or several. `"{column}"` takes the text (or list of texts) from that column of the row, so
    that the right and the wrong answer may differ by row. Only the first token of each text counts; coherence is
    P(positive) + P(negative), the probability mass left on the options.

    Raises DataError: options that share their first token, or a missing column.
    """
    sides = [[text] if isinstance(text, str) else list(text) for text in (positive, negative)]
    if not all(sides):
        raise DataError(f"Both sides need an option; given: {positive!r} against {negative!r}.")
    caches: WeakKeyDictionary[Model, dict[tuple[str, str], int]] = WeakKeyDictionary()

    def masses(outcome: Outcome) -> Float[np.ndarray, "2 n"]:
        if outcome.logits is None:
            raise DataError("An option measure needs next-token logits.")
        probability = torch.softmax(outcome.logits, dim=-1).cpu()
        out = np.zeros((2, len(outcome.rows)))
        cache = caches.setdefault(outcome.model, {})
        for number, row in enumerate(outcome.rows):
            ids = [{_first_token(outcome.model, row, text, cache) for text in _filled(side, row)} for side in sides]
            if ids[0] & ids[1]:
                raise DataError(
                    f"Row {number}: options {_filled(sides[0], row)} and {_filled(sides[1], row)} begin with the same "
                    "token and cannot be told apart by the next token."
                )
            for side, tokens in enumerate(ids):
                out[side, number] = float(probability[number, sorted(tokens)].sum())
        return out

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        high, low = masses(outcome)
        return high / (high + low)

    def coherence(outcome: Outcome) -> Float[np.ndarray, " n"]:
        return masses(outcome).sum(axis=0)

    label = name or f"P({'|'.join(sides[0])})"
    return Measure(label, "logits", value, coherence)


def text(score: Callable[[str, dict[str, Any]], float], *, name: str, max_new_tokens: int = 32) -> Measure:
    """A measure of generated text: `score(text, row)` gives a number, nan for "cannot be told".

    Empty text, and text cut off by the token limit, is missing.
    """

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        if outcome.texts is None:
            raise DataError("A text measure needs generated text.")
        whole = [made.finished and bool(made.text.strip()) for made in outcome.texts]
        triples = zip(outcome.texts, outcome.rows, whole, strict=True)
        return np.array([float(score(made.text, row)) if ok else np.nan for made, row, ok in triples])

    return Measure(name, "text", value, max_new_tokens=max_new_tokens)


def contains(words: str | Sequence[str], *, name: str | None = None, max_new_tokens: int = 32) -> Measure:
    """Share of generated texts that hold any of the words (whole words, any case); `"{column}"` as in `option`."""
    wanted = [words] if isinstance(words, str) else list(words)

    def score(made: str, row: dict[str, Any]) -> float:
        words_here = _filled(wanted, row)
        return float(any(re.search(rf"(?<!\w){re.escape(w.strip())}(?!\w)", made, re.IGNORECASE) for w in words_here))

    return text(score, name=name or f"contains {'|'.join(wanted)}", max_new_tokens=max_new_tokens)


def _filled(texts: Sequence[str], row: dict[str, Any]) -> list[str]:
    out: list[str] = []
    for given in texts:
        if given.startswith("{") and given.endswith("}"):
            column = given[1:-1]
            if column not in row:
                raise DataError(f"Option {given!r}: no column {column!r}; available: {available(row)}.")
            value = row[column]
            out += value if isinstance(value, list) else [value]
        else:
            out.append(given)
    return out


def _first_token(model: Model, row: dict[str, Any], answer: str, cache: dict[tuple[str, str], int]) -> int:
    prompt = row["prompt"]
    ending = prompt[-20:] if isinstance(prompt, str) else str(prompt[-1])
    if (ending, answer) not in cache:
        encoded = encode(model.tokenizer, prompt, answer)
        cache[ending, answer] = encoded.ids[encoded.prompt_length]
    return cache[ending, answer]
