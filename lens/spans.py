"""Spans: which tokens are read or steered, in one spelling for both."""

import re
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens.errors import SpanError

Part = Literal["prompt", "response", "all"]

_SPELLING = re.compile(
    r"(?P<part>prompt|response|all)"
    r"(\[(?:(?P<index>-?\d+)|(?P<start>-?\d+)?:(?P<stop>-?\d+)?)\]|\{(?P<from>[^{}:]+):(?P<to>[^{}:]+)\})?"
    r"(?P<onward>:)?"
)
_FAR = torch.iinfo(torch.int64).max // 4


@dataclass(frozen=True)
class Span:
    """Tokens of one part of a text, cut with Python's own slices.

    `prompt` is every real token before the response, BOS and template tags included; `response` the
    response's own tokens; `all` both. `prompt[-1]` is the position that predicts the response's first token.
    A colon after the bracket means "from there through everything that follows": `prompt[-1]:` is the last
    prompt token, the response, and everything generated.

    Braces take character bounds from columns: `prompt{begin:end}` is every token that shares a character with
    `prompt[begin:end]` as text, row by row. It is for `collect` (see `lens.char_spans`).

    >>> Span.parse("response[:-5]")
    Span(part='response', start=None, stop=-5, single=False, onward=False, columns=None)
    """

    part: Part
    start: int | None = None
    stop: int | None = None
    single: bool = False
    onward: bool = False
    columns: tuple[str, str] | None = None

    @classmethod
    def parse(cls, text: "str | Span") -> "Span":
        """Read a span. Raises SpanError on anything that is not one."""
        if isinstance(text, Span):
            return text
        match = _SPELLING.fullmatch(text.strip())
        if match is None or (match["onward"] and match["index"] is None):
            raise SpanError(
                f"Unknown span {text!r}. Write prompt, response or all, with a Python index or slice: "
                "'prompt[-1]', 'response[:-5]', 'all', or 'prompt[-1]:' for that token and all that follow; "
                "'prompt{begin:end}' takes character bounds from columns."
            )
        part: Part = match["part"]  # type: ignore[assignment]
        if match["from"] is not None:
            if part == "all":
                raise SpanError(f"Span {text!r}: characters are counted in the prompt or in the response, not in both.")
            return cls(part, columns=(match["from"].strip(), match["to"].strip()))
        if match["index"] is not None:
            return cls(part, int(match["index"]), single=True, onward=bool(match["onward"]))
        start, stop = (int(match[g]) if match[g] else None for g in ("start", "stop"))
        return cls(part, start, stop)

    def __str__(self) -> str:
        if self.columns:
            return f"{self.part}{{{self.columns[0]}:{self.columns[1]}}}"
        if self.single:
            return f"{self.part}[{self.start}]" + (":" if self.onward else "")
        if self.start is None and self.stop is None:
            return self.part
        start, stop = ("" if bound is None else bound for bound in (self.start, self.stop))
        return f"{self.part}[{start}:{stop}]"

    @property
    def needs_end(self) -> bool:
        """Whether the selection depends on where the text ends, which generation does not know."""
        negative = (self.start or 0) < 0 or (self.stop or 0) < 0
        return self.part != "prompt" and negative

    @property
    def reads_response(self) -> bool:
        """Whether a selected token may see the response."""
        return self.part != "prompt" or self.onward

    def check_generation(self) -> None:
        """Raises SpanError where the span counts from an end that generation does not know yet."""
        if self.needs_end:
            raise SpanError(
                f"Span {str(self)!r} counts from the end of the text, which is not known while text is being "
                "generated; count from its start, for example 'response[0]', 'response' or 'prompt[-1]:'."
            )

    def select(
        self,
        index: Int[Tensor, "batch pos"],
        prompt_length: Int[Tensor, " batch"],
        length: Int[Tensor, " batch"] | None,
    ) -> Bool[Tensor, "batch pos"]:
        """Which positions are in the span.

        `index[b, t]` is the place of position t among row b's real tokens (0-based, pads -1);
        `length[b]` the row's number of real tokens, None while it is still being generated.
        """
        first, end = self.bounds(prompt_length, length)
        return (index >= first[:, None]) & (index < end[:, None]) & (index >= 0)

    def bounds(
        self, prompt_length: Int[Tensor, " n"], length: Int[Tensor, " n"] | None
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Place of the first token in the span and of the one after the last, row by row; either may lie outside."""
        if self.columns:
            raise SpanError(f"Span {str(self)!r} takes its bounds from columns, which only collecting examples has.")
        if length is None:
            self.check_generation()
            length = torch.full_like(prompt_length, _FAR)
        low = prompt_length if self.part == "response" else torch.zeros_like(prompt_length)
        high = prompt_length if self.part == "prompt" else length

        def place(bound: int) -> Tensor:
            return low + bound if bound >= 0 else high + bound

        if self.single:
            assert self.start is not None
            first = place(self.start)
            outside = (first < low) | (first >= high)
            end = torch.full_like(first, _FAR) if self.onward else first + 1
            return first, torch.where(outside, first, end)
        first = low if self.start is None else torch.maximum(place(self.start), low)
        end = high if self.stop is None else torch.minimum(place(self.stop), high)
        return first, end
