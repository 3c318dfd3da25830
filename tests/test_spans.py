"""Spans mean what Python's own indices and slices mean, for one part of a padded row."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lens
from lens import Span

# Each example is cheap, and the corners (a bound past the end of a prompt that has a response) are rare.
MANY = settings(max_examples=500)
PARTS = st.sampled_from(["prompt", "response", "all"])
BOUND = st.none() | st.integers(-7, 7)
ROWS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=4)


def spell(start, stop) -> str:
    return f"[{'' if start is None else start}:{'' if stop is None else stop}]"


def layout(rows, side):
    """Where each position lies among its row's tokens, as `lens.tokens.pad` numbers it."""
    width = max(prompt + response for prompt, response in rows)
    index = torch.full((len(rows), width), -1)
    for row, (prompt, response) in enumerate(rows):
        length = prompt + response
        at = slice(width - length, width) if side == "left" else slice(0, length)
        index[row, at] = torch.arange(length)
    prompts = torch.tensor([prompt for prompt, _ in rows])
    return index, prompts, prompts + torch.tensor([response for _, response in rows])


def part_of(row, part):
    """The row's token numbers that belong to a part, as a plain list."""
    prompt, response = row
    return {
        "prompt": list(range(prompt)),
        "response": list(range(prompt, prompt + response)),
        "all": list(range(prompt + response)),
    }[part]


def chosen(span, rows, side):
    index, prompts, lengths = layout(rows, side)
    mask = Span.parse(span).select(index, prompts, lengths)
    return [index[row][mask[row]].tolist() for row in range(len(rows))]


@MANY
@given(ROWS, PARTS, BOUND, BOUND, st.sampled_from(["left", "right"]))
def test_slices_select_what_python_slices_select(rows, part, start, stop, side):
    wanted = [part_of(row, part)[start:stop] for row in rows]
    assert chosen(part + spell(start, stop), rows, side) == wanted


@MANY
@given(ROWS, PARTS, st.integers(-7, 7), st.sampled_from(["left", "right"]))
def test_an_index_selects_that_token_or_none(rows, part, at, side):
    lists = [part_of(row, part) for row in rows]
    wanted = [[tokens[at]] if -len(tokens) <= at < len(tokens) else [] for tokens in lists]
    assert chosen(f"{part}[{at}]", rows, side) == wanted


@MANY
@given(ROWS, PARTS, st.integers(-7, 7), st.sampled_from(["left", "right"]))
def test_a_colon_after_the_bracket_means_from_there_through_everything(rows, part, at, side):
    lists = [part_of(row, part) for row in rows]
    wanted = [
        list(range(tokens[at], sum(row))) if -len(tokens) <= at < len(tokens) else []
        for tokens, row in zip(lists, rows, strict=True)
    ]
    assert chosen(f"{part}[{at}]:", rows, side) == wanted


@given(ROWS, PARTS)
def test_a_part_alone_is_all_of_it(rows, part):
    assert chosen(part, rows, "left") == [part_of(row, part) for row in rows]


@given(PARTS, BOUND, BOUND, st.integers(-7, 7), st.booleans())
def test_what_is_printed_parses_back(part, start, stop, at, onward):
    for text in (part, part + spell(start, stop), f"{part}[{at}]" + ":" * onward):
        span = Span.parse(text)
        assert Span.parse(str(span)) == span
        assert Span.parse(span) is span


@given(
    ROWS, st.sampled_from(["prompt", "prompt[-1]", "prompt[-1]:", "response[0]", "response", "all", "response[1:3]"])
)
def test_while_generating_the_end_is_not_needed(rows, span):
    """Selected tokens are the same whether or not it is known where the text will end."""
    index, prompts, lengths = layout(rows, "right")
    span = Span.parse(span)
    assert torch.equal(span.select(index, prompts, None), span.select(index, prompts, lengths))


@pytest.mark.parametrize("span", ["response[-1]", "response[:-5]", "response[-3:]", "all[-1]", "all[:-2]", "all[-1]:"])
def test_counting_from_the_end_is_refused_while_generating(span):
    index, prompts, _ = layout([(3, 2)], "right")
    with pytest.raises(lens.SpanError, match=r"response\[0\]"):
        Span.parse(span).select(index, prompts, None)


@pytest.mark.parametrize(
    "text",
    ["", "Prompt", "prompts", "prompt[", "prompt[]", "prompt[a]", "prompt[1:2:3]", "prompt[1:]:", "prompt:", "-1"],
)
def test_nonsense_is_refused_with_examples_of_sense(text):
    with pytest.raises(lens.SpanError, match=r"prompt\[-1\]"):
        Span.parse(text)


def test_show_tokens_marks_the_span_in_text(gpt2):
    view = lens.show_tokens(gpt2, "the quick", " brown fox", span="prompt[-1]:")
    assert str(view) == "the [Ġquick] │ [Ġbrown] [Ġfox]"
    assert str(lens.show_tokens(gpt2, "the quick", span="prompt")) == "[the] [Ġquick] │"


def test_show_tokens_marks_the_span_in_html_and_escapes_it(gpt2):
    page = lens.show_tokens(gpt2, "a <b>&", span="prompt[0]")._repr_html_()
    assert page.count("#ffd166") == 1
    assert "<b>" not in page and "&lt;" in page and "&amp;" in page


def test_show_tokens_refuses_an_empty_selection(gpt2):
    with pytest.raises(lens.SpanError, match="the prompt has 2 tokens, the response 0"):
        lens.show_tokens(gpt2, "the quick", span="response")


def test_show_tokens_counts_the_bos(llama):
    assert str(lens.show_tokens(llama, "the", span="prompt[0]")) == "[<s>] the │"
    assert tiny.tokenizer(bos="<s>")("the").input_ids[0] == llama.tokenizer.bos_token_id
