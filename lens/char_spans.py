"""Character spans: the tokens that share a character with a stretch of text, whose bounds stand in two columns."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lens.errors import ModelError, SpanError, available
from lens.examples import Examples
from lens.spans import Span
from lens.tokens import Rows, render

Offsets = list[tuple[int, int]]


def char_bounds(
    tokenizer: Any, examples: Examples, span: Span, rows: Rows
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Each row's first token in the span and the one after its last:

        tokens whose characters [s, e) meet the bounds [begin, end):   s < end and e > begin

    begin, end: character positions, from 0, in the prompt's text or in the response's. Raises SpanError: a column that
    is missing, bounds outside the text or around no token, a prompt of chat messages (its template moves the
    characters), cut rows. ModelError: a tokenizer that does not know where its tokens come from.
    """
    assert span.columns is not None
    for column in span.columns:
        if column not in examples.frame:
            raise SpanError(
                f"Span {str(span)!r}: no column {column!r}; available: {available(examples.frame.columns)}."
            )
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("This tokenizer does not say which characters its tokens come from; give a span of tokens.")
    found = list(_bounds(tokenizer, examples, span, rows))
    return torch.tensor([first for first, _ in found]), torch.tensor([end for _, end in found])


def _bounds(tokenizer: Any, examples: Examples, span: Span, rows: Rows) -> Iterator[tuple[int, int]]:
    columns = [examples.frame[column].tolist() for column in span.columns or ()]
    responses = examples.responses or [None] * len(rows)
    for number, (prompt, response, begin, end) in enumerate(zip(examples.prompts, responses, *columns, strict=True)):
        text = prompt if span.part == "prompt" else response
        if not isinstance(text, str):
            raise SpanError(f"Row {number}: span {str(span)!r} counts characters of a plain text; there is none.")
        if not (isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end <= len(text)):
            raise SpanError(
                f"Row {number}: span {str(span)!r} is [{begin}:{end}]; the {span.part} has {len(text)} characters."
            )
        offsets = _offsets(tokenizer, prompt, response, rows[number].ids)
        low = rows[number].prompt_length if span.part == "response" else 0
        high = len(offsets) if span.part == "response" else rows[number].prompt_length
        inside = [k for k in range(low, high) if offsets[k][0] < end and offsets[k][1] > begin]
        if not inside:
            raise SpanError(f"Row {number}: no token has characters in {text[begin:end]!r:.60}.")
        yield inside[0], inside[-1] + 1


def _offsets(tokenizer: Any, prompt: Any, response: str | None, ids: list[int]) -> Offsets:
    """Of each token its characters: the prompt's counted in the prompt's text, the response's in the response."""
    text, special = render(tokenizer, prompt)
    alone = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    at: Offsets = list(alone["offset_mapping"])
    if response is not None:
        joint = tokenizer(text + response, add_special_tokens=special, return_offsets_mapping=True)
        if list(joint["input_ids"]) == ids:
            at += [(s - len(text), e - len(text)) for s, e in joint["offset_mapping"][len(at) :]]
        else:
            at += list(tokenizer(response, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"])
    if len(at) != len(ids):
        raise SpanError("Character spans and cut rows exclude each other: shorten the texts, or give a span of tokens.")
    return at
