"""Token view: one example's tokens, with those that a span reads or steers marked."""

import html
from dataclasses import dataclass

import torch

from lens.errors import SpanError
from lens.spans import Span
from lens.tokens import Row


def selected(row: Row, span: str | Span) -> list[bool]:
    """Which of one row's tokens are in the span. Raises SpanError where none is."""
    span = Span.parse(span)
    chosen = span.select(torch.arange(len(row))[None], torch.tensor([row.prompt_length]), torch.tensor([len(row)]))[
        0
    ].tolist()
    if not any(chosen):
        raise SpanError(
            f"Span {str(span)!r} selects no token: the prompt has {row.prompt_length} tokens, the response "
            f"{len(row) - row.prompt_length}."
        )
    return chosen


@dataclass(frozen=True)
class TokenView:
    """The tokens of one example with those of a span marked: [brackets] in text, a highlight in Jupyter."""

    tokens: list[str]
    chosen: list[bool]
    prompt_length: int

    def __str__(self) -> str:
        pieces = [f"[{t}]" if c else t for t, c in zip(self.tokens, self.chosen, strict=True)]
        return " ".join([*pieces[: self.prompt_length], "│", *pieces[self.prompt_length :]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def piece(token: str, chosen: bool, number: int) -> str:
            color = "#ffd166" if chosen else "transparent"
            border = "border-left:2px solid #888;" if number == self.prompt_length else ""
            return (
                f'<span style="background:{color};{border}padding:1px 3px;margin:1px" title="token {number}">'
                f"{html.escape(token)}</span>"
            )

        triples = zip(self.tokens, self.chosen, range(len(self.tokens)), strict=True)
        return '<div style="font-family:monospace">' + "".join(piece(*triple) for triple in triples) + "</div>"
