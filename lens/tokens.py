"""Tokens: how a prompt and its response become one row of ids, and rows become batches."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens.errors import DataError, ModelError, SpanError
from lens.spans import Span

PaddingSide = Literal["left", "right"]


@dataclass(frozen=True)
class Row:
    """The ids of one prompt and its response; `prompt_length` of them belong to the prompt."""

    ids: list[int]
    prompt_length: int
    has_bos: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """Rows padded to one length, some of `total`. `index[b, t]` is a position's place among the row's real tokens,
    pads -1."""

    rows: Int[Tensor, " batch"]
    ids: Int[Tensor, "batch pos"]
    mask: Int[Tensor, "batch pos"]
    index: Int[Tensor, "batch pos"]
    prompt_length: Int[Tensor, " batch"]
    length: Int[Tensor, " batch"]
    has_bos: Bool[Tensor, " batch"]
    total: int

    def to(self, device: torch.device) -> "Batch":
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in tensors.items()}
        return replace(self, **moved)


def encode(tokenizer: Any, prompt: str | list[dict[str, str]], response: str | None = None) -> Row:
    """Tokenise a prompt exactly as generation would see it, then its response as the continuation.

    The prompt's ids never depend on the response, so what is read at `prompt[-1]` is what generation starts
    from. The response's ids are the rest of the joint text where the tokenizer agrees with that cut, else the
    response tokenised by itself.

    Raises ModelError: chat messages without a chat template. DataError: nothing left after tokenising.
    """
    text, special = _render(tokenizer, prompt)
    ids = list(tokenizer(text, add_special_tokens=special)["input_ids"])
    if not ids:
        raise DataError(f"The prompt {text!r:.60} has no tokens.")
    has_bos = ids[0] in {tokenizer.bos_token_id, tokenizer.cls_token_id} - {None}
    prompt_length = len(ids)
    if response is not None:
        joint = list(tokenizer(text + response, add_special_tokens=special)["input_ids"])
        if len(joint) > prompt_length and joint[:prompt_length] == ids:
            ids = joint
        else:
            ids = ids + list(tokenizer(response, add_special_tokens=False)["input_ids"])
        if len(ids) == prompt_length:
            raise DataError(f"The response {response!r:.60} has no tokens.")
    return Row(ids, prompt_length, has_bos)


def _render(tokenizer: Any, prompt: str | list[dict[str, str]]) -> tuple[str, bool]:
    if isinstance(prompt, str):
        return prompt, True
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "The prompts are chat messages but this tokenizer has no chat template; "
            "give plain texts, or set tokenizer.chat_template."
        )
    prefilled = prompt[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        prompt, tokenize=False, add_generation_prompt=not prefilled, continue_final_message=prefilled
    )
    return text, False


def encode_all(
    tokenizer: Any,
    prompts: Sequence[str | list[dict[str, str]]],
    responses: Sequence[str | None] | None = None,
    *,
    context: int | None,
) -> list[Row]:
    """Tokenise every row. Raises DataError naming the first row that is longer than the context."""
    responses = responses if responses is not None else [None] * len(prompts)
    rows = [encode(tokenizer, *pair) for pair in zip(prompts, responses, strict=True)]
    for number, row in enumerate(rows):
        if context is not None and len(row) > context:
            raise DataError(f"Row {number} has {len(row)} tokens; this model's context holds {context}.")
    return rows


def batches(rows: Sequence[Row], *, tokens: int, pad_id: int, padding_side: PaddingSide = "right") -> Iterator[Batch]:
    """Batches of rows of similar length, longest first, each of at most `tokens` tokens with its padding."""
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    at = 0
    while at < len(order):
        size = max(1, tokens // len(rows[order[at]]))
        yield pad(rows, order[at : at + size], pad_id=pad_id, padding_side=padding_side)
        at += size


def pad(rows: Sequence[Row], chosen: Sequence[int], *, pad_id: int, padding_side: PaddingSide = "right") -> Batch:
    """Pad the chosen rows to the longest of them."""
    length = torch.tensor([len(rows[number]) for number in chosen])
    width = int(length.max())
    position = torch.arange(width).expand(len(chosen), width)
    index = position - (width - length)[:, None] if padding_side == "left" else position
    real = (index >= 0) & (index < length[:, None])
    ids = torch.full((len(chosen), width), pad_id)
    ids[real] = torch.tensor([token for number in chosen for token in rows[number].ids])
    return Batch(
        rows=torch.tensor(list(chosen)),
        ids=ids,
        mask=real.long(),
        index=torch.where(real, index, -1),
        prompt_length=torch.tensor([rows[number].prompt_length for number in chosen]),
        length=length,
        has_bos=torch.tensor([rows[number].has_bos for number in chosen]),
        total=len(rows),
    )


def count_selected(rows: Sequence[Row], span: Span) -> Int[Tensor, " n"]:
    """How many tokens of each row are in the span. Raises SpanError naming the first row where none is."""
    length = torch.tensor([len(row) for row in rows])
    prompt_length = torch.tensor([row.prompt_length for row in rows])
    index = torch.arange(int(length.max())).expand(len(rows), -1)
    count = span.select(index.where(index < length[:, None], -1), prompt_length, length).sum(dim=1)
    if (count == 0).any():
        row = int((count == 0).int().argmax())
        raise SpanError(
            f"Row {row}: span {str(span)!r} selects no token; its prompt has {prompt_length[row]} tokens, its "
            f"response {length[row] - prompt_length[row]}."
        )
    return count


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
