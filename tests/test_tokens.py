"""Prompts and responses become ids exactly as generation would see them."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import lens
from lens.tokens import WASTE, batches, encode, pad, plan_batches

PLAIN, BOS, CHAT = tiny.tokenizer(), tiny.tokenizer(bos="<s>"), tiny.tokenizer(bos="<s>", chat=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
USER = [{"role": "user", "content": "she lied"}]


def decoded(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@given(TEXT, TEXT)
def test_the_prompts_ids_never_depend_on_the_response(prompt, response):
    for tokenizer in (PLAIN, BOS):
        row = encode(tokenizer, prompt, response)
        assert row.ids[: row.prompt_length] == tokenizer(prompt).input_ids


@given(TEXT, TEXT)
def test_nothing_of_the_response_is_lost(prompt, response):
    row = encode(PLAIN, prompt, response)
    assert decoded(PLAIN, row.ids[row.prompt_length :]) == response


def test_the_response_is_tokenised_jointly_where_the_cut_agrees():
    row = encode(PLAIN, "the quick", " brown fox")
    assert row.ids == PLAIN("the quick brown fox").input_ids
    assert row.prompt_length == 2


def test_the_response_stands_alone_where_the_joint_text_would_change_the_prompt():
    prompt, response = "the qui", "ck fox she lied about money" * 3
    joint, ids = PLAIN(prompt + response).input_ids, PLAIN(prompt).input_ids
    assert len(joint) > len(ids) and joint[: len(ids)] != ids
    row = encode(PLAIN, prompt, response)
    assert row.ids == PLAIN(prompt).input_ids + PLAIN(response).input_ids


def test_a_response_has_no_bos_of_its_own():
    for prompt, response in (("the quick", " fox"), ("the qui", "ck fox")):
        assert encode(BOS, prompt, response).ids.count(BOS.bos_token_id) == 1


def test_chat_messages_are_rendered_by_the_template():
    row = encode(CHAT, USER)
    assert CHAT.decode(row.ids) == "<|user|>she lied<|end|><|assistant|>"
    assert not row.has_bos


def test_a_template_with_a_bos_does_not_get_a_second_one():
    tokenizer = tiny.tokenizer(bos="<s>")
    tokenizer.chat_template = "<s>" + tiny.CHAT
    row = encode(tokenizer, USER, "no")
    assert row.ids.count(tokenizer.bos_token_id) == 1 and row.has_bos


def test_a_prefilled_assistant_turn_is_continued():
    row = encode(CHAT, [*USER, {"role": "assistant", "content": "maybe"}])
    assert CHAT.decode(row.ids) == "<|user|>she lied<|end|><|assistant|>maybe"


def test_a_chat_response_follows_the_generation_prompt():
    row = encode(CHAT, USER, "no")
    assert CHAT.decode(row.ids[row.prompt_length :]) == "no"
    assert row.ids[: row.prompt_length] == encode(CHAT, USER).ids


def test_chat_messages_need_a_template():
    with pytest.raises(lens.ModelError, match=r"no chat template.*plain texts"):
        encode(PLAIN, USER)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 64), st.sampled_from(["left", "right"]))
def test_batches_hold_every_row_once_within_the_budget(lengths, tokens, side):
    rows = [lens.tokens.Row(list(range(5, 5 + length)), length, False) for length in lengths]
    seen = []
    for batch in batches(rows, tokens=tokens, pad_id=0, padding_side=side):
        assert batch.ids.numel() <= tokens or len(batch.rows) == 1
        for at, number in enumerate(batch.rows.tolist()):
            seen.append(number)
            real = batch.mask[at].bool()
            assert batch.ids[at][real].tolist() == rows[number].ids
            assert batch.index[at][real].tolist() == list(range(lengths[number]))
            assert (batch.index[at][~real] == -1).all() and (batch.ids[at][~real] == 0).all()
    assert sorted(seen) == list(range(len(rows)))


def test_padding_goes_to_the_side_asked_for():
    rows = [lens.tokens.Row([7, 8, 9], 3, False), lens.tokens.Row([5], 1, False)]
    assert pad(rows, [0, 1], pad_id=0, padding_side="left").ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert pad(rows, [0, 1], pad_id=0, padding_side="right").ids.tolist() == [[7, 8, 9], [5, 0, 0]]


def test_a_row_longer_than_the_context_is_named(gpt2):
    with pytest.raises(lens.DataError, match=r"Row 1 has 200 tokens.*context holds 128"):
        lens.collect(gpt2, ["the", "the" * 200])


def test_generation_leaves_room_for_the_new_tokens(gpt2):
    with pytest.raises(lens.DataError, match=r"Row 0 has 100 tokens.*max_new_tokens=40.*context of 128"):
        gpt2.generate("the" * 100, max_new_tokens=40)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 2000))
def test_batches_hold_every_row_once_within_the_budget_and_with_little_padding(lengths, tokens):
    plan = plan_batches(torch.tensor(lengths), tokens)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    for number, batch in enumerate(plan):
        held = [lengths[row] for row in batch]
        assert held == sorted(held, reverse=True)
        assert len(batch) == 1 or (
            len(batch) * held[0] <= tokens and len(batch) * held[0] - sum(held) <= tokens // WASTE
        )
        if number + 1 < len(plan):
            more = [*held, lengths[plan[number + 1][0]]]
            padding = len(more) * held[0] - sum(more)
            assert len(more) * held[0] > tokens or padding > tokens // WASTE, "another row would have fitted"
