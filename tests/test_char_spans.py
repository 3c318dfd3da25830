"""Character bounds in two columns select the tokens that share a character with them."""

import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import lens
from lens import Examples, Span
from lens.char_spans import char_bounds

TEXT = "the money that she lied about was quick money"


@pytest.fixture(scope="module")
def model():
    return lens.wrap(*tiny.hugging_face("llama"))


def table(rows):
    return Examples(pd.DataFrame(rows))


def bounds(model, rows, span):
    examples = table(rows)
    tokens = model.rows(examples.prompts, examples.responses)
    first, end = char_bounds(model.tokenizer, examples, Span.parse(span), tokens)
    return [tokens[k].ids[a:b] for k, (a, b) in enumerate(zip(first.tolist(), end.tolist(), strict=True))]


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 20))
def test_the_tokens_are_those_whose_characters_meet_the_bounds(begin, length):
    model = lens.wrap(*tiny.hugging_face("gpt2"))
    end = min(begin + length, len(TEXT))
    offsets = model.tokenizer(TEXT, return_offsets_mapping=True)
    wanted = [
        token
        for token, (s, e) in zip(offsets["input_ids"], offsets["offset_mapping"], strict=True)
        if set(range(s, e)) & set(range(begin, end))
    ]
    if wanted:
        assert bounds(model, [{"prompt": TEXT, "a": begin, "b": end}], "prompt{a:b}") == [wanted]


def test_words_of_prompt_and_response_are_found(model):
    lied, was = TEXT.index("lied"), TEXT.index("was")
    rows = [
        {"prompt": TEXT, "response": " about the fox", "a": lied, "b": lied + 4},
        {"prompt": "she " + TEXT, "response": " yes", "a": was + 4, "b": was + 7},
    ]
    assert [model.tokenizer.decode(ids).strip() for ids in bounds(model, rows, "prompt{a:b}")] == ["lied", "was"]
    said = [{"prompt": TEXT, "response": " about the fox", "a": 7, "b": 14}]
    assert [model.tokenizer.decode(ids).strip() for ids in bounds(model, said, "response{a:b}")] == ["the fox"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_is_collected_is_what_a_slice_of_tokens_gives(model, side):
    begin = TEXT.index("money")
    rows = [{"prompt": text, "a": text.index("money"), "b": text.index("money") + 5} for text in (TEXT, "quick money")]
    acts = lens.collect(model, table(rows), span="prompt{a:b}", padding_side=side, progress=False)
    for number, row in enumerate(rows):
        before = len(model.tokenizer(row["prompt"][: row["a"]].rstrip()).input_ids)
        alone = lens.collect(model, [row["prompt"]], span=f"prompt[{before}]", progress=False)
        assert torch.allclose(acts["resid_post.2"][number], alone["resid_post.2"][0], atol=1e-5)
    assert acts.source.span == "prompt{a:b}" and begin > 0


def test_a_chat_prompt_has_a_response_whose_characters_can_be_counted():
    model = lens.wrap(*tiny.hugging_face("llama", chat=True))
    chat = [{"role": "user", "content": "she lied"}]
    assert len(bounds(model, [{"prompt": chat, "response": "no money", "a": 3, "b": 8}], "response{a:b}")[0]) >= 1
    with pytest.raises(lens.SpanError, match="counts characters of a plain text"):
        bounds(model, [{"prompt": chat, "response": "no", "a": 0, "b": 2}], "prompt{a:b}")


def test_a_store_of_other_bounds_is_another_collection(model, tmp_path):
    rows = [{"prompt": TEXT, "a": 0, "b": 3}]
    lens.collect(model, table(rows), span="prompt{a:b}", store=tmp_path / "acts", progress=False)
    with pytest.raises(lens.ArtifactError, match="another collection"):
        moved = [{"prompt": TEXT, "a": 4, "b": 9}]
        lens.collect(model, table(moved), span="prompt{a:b}", store=tmp_path / "acts", progress=False)


def test_a_span_of_characters_is_spelled_as_it_is_read():
    span = Span.parse("response{from:to}")
    assert span.columns == ("from", "to") and str(span) == "response{from:to}" and span.reads_response
    with pytest.raises(lens.SpanError, match="not in both"):
        Span.parse("all{from:to}")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"a": 5, "b": 5}, r"Row 0: span 'prompt\{a:b\}' is \[5:5\]; the prompt has 45 characters"),
        ({"a": 0, "b": 99}, r"is \[0:99\]"),
        ({"a": 0.5, "b": 3}, r"is \[0\.5:3\]"),
        ({"a": 3}, "no column 'b'; available: prompt, a"),
    ],
)
def test_bounds_that_select_nothing_are_named_with_their_row(model, row, says):
    with pytest.raises(lens.SpanError, match=says):
        lens.collect(model, table([{"prompt": TEXT} | row]), span="prompt{a:b}", progress=False)


def test_characters_between_tokens_select_nothing():
    words = lens.load("organism:traits")  # its tokens are words; the spaces belong to none
    with pytest.raises(lens.SpanError, match="Row 0: no token has characters in ' '"):
        bounds(words, [{"prompt": "the basket", "a": 3, "b": 4}], "prompt{a:b}")


def test_characters_are_not_for_generation_nor_for_cut_rows(model):
    with pytest.raises(lens.SpanError, match="only collecting examples has"):
        model.show_tokens(TEXT, span="prompt{a:b}")
    long = "the money " * 100
    with pytest.raises(lens.SpanError, match="exclude each other"):
        rows = [{"prompt": long, "a": 0, "b": 3}]
        lens.collect(model, table(rows), span="prompt{a:b}", truncate="right", progress=False)
