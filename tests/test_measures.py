"""Measures turn what a model did into one number per row; missing is nan, never 0."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import lens
import steering
from lens.generation import Generation, generate
from probes import Direction
from steering import measures
from steering.effects import coherent, effects, sustained_log_probability, usual_floor
from steering.measures import Outcome

MODEL = lens.wrap(*tiny.hugging_face("gpt2"))
ROWS = [{"prompt": "she lied about", "right": " money", "wrong": [" fox", " no"]}, {"prompt": "was that"}]


def outcome(model, rows=ROWS[:1], **boost):
    """Logits in which each word's first token has the given logit, all other tokens 0."""
    logits = torch.zeros(len(rows), len(model.tokenizer))
    for word, value in boost.items():
        logits[:, first(model, word)] = value
    return Outcome(model, rows, logits=logits)


def first(model, word):
    """The token of ` word` after a prompt."""
    row = lens.tokens.encode(model.tokenizer, "she lied about", f" {word}")
    return row.ids[row.prompt_length]


def texts(*pairs):
    return [Generation(text, [5] * len(text.split()), finished) for text, finished in pairs]


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_option_is_the_share_of_one_answer(high, low):
    made = measures.option(" yes", " no")(outcome(MODEL, yes=high, no=low))
    assert made[0] == pytest.approx(1 / (1 + np.exp(low - high)), abs=1e-5)


def test_options_coherence_is_the_mass_left_on_the_options(gpt2):
    measure, made = measures.option(" yes", " no"), outcome(gpt2, yes=3.0, no=3.0)
    vocabulary = len(gpt2.tokenizer)
    assert measure.coherence(made)[0] == pytest.approx(2 * np.exp(3) / (2 * np.exp(3) + vocabulary - 2), rel=1e-4)


def test_several_words_a_side_add_up(gpt2):
    made = outcome(gpt2, yes=2.0, maybe=2.0, no=2.0)
    assert measures.option([" yes", " maybe"], " no")(made)[0] == pytest.approx(2 / 3, abs=1e-5)
    assert measures.option([" yes", " yes"], " no")(made)[0] == pytest.approx(1 / 2, abs=1e-5)


def test_options_can_come_from_columns(gpt2):
    made = outcome(gpt2, money=2.0, fox=2.0, no=2.0)
    assert measures.option("{right}", "{wrong}")(made)[0] == pytest.approx(1 / 3, abs=1e-5)
    with pytest.raises(lens.DataError, match=r"'\{left\}': no column 'left'; available: prompt, right, wrong"):
        measures.option("{left}", " no")(made)


def test_options_with_the_same_first_token_are_refused(gpt2):
    with pytest.raises(lens.DataError, match=r"Row 0.*' yes'.*begin with the same token"):
        measures.option(" yes", " yes indeed")(outcome(gpt2))


def test_a_measure_can_be_used_with_two_models(models):
    """Their tokenizers give the same words different ids."""
    measure, plain, shifted = measures.option(" yes", " no"), models("gpt2"), models("llama")
    assert first(plain, "yes") != first(shifted, "yes")
    for model in (plain, shifted, plain):
        assert measure(outcome(model, yes=4.0))[0] > 0.9


def test_the_option_follows_the_prompt_as_it_is_tokenised(gpt2):
    """After a space the answer's token is another one than after a word."""
    rows = [{"prompt": "was that "}, {"prompt": "was that"}]
    measure = measures.option("yes", "no")
    for number, row in enumerate(rows):
        encoded = lens.tokens.encode(gpt2.tokenizer, row["prompt"], "yes")
        logits = torch.zeros(2, len(gpt2.tokenizer))
        logits[number, encoded.ids[encoded.prompt_length]] = 9.0
        assert measure(Outcome(gpt2, rows, logits=logits))[number] > 0.99


def test_option_measured_on_a_model_is_its_own_next_token_probability(gpt2):
    table = lens.Examples.from_texts(tiny.TEXTS)
    got = effects(gpt2, table, measures.option(" yes", " no"), batch_tokens=12)
    for row, text in enumerate(tiny.TEXTS):
        with torch.no_grad():
            probability = gpt2.hf(gpt2.tokenizer(text, return_tensors="pt").input_ids).logits[0, -1].softmax(dim=-1)
        yes, no = float(probability[first(gpt2, "yes")]), float(probability[first(gpt2, "no")])
        assert got["value"][row] == pytest.approx(yes / (yes + no), rel=1e-3)
        assert got["coherence"][row] == pytest.approx(yes + no, rel=1e-3)


def test_empty_and_cut_off_texts_are_missing(gpt2):
    made = Outcome(gpt2, [{}] * 4, texts=texts(("yes it was", True), ("no", True), ("  ", True), ("yes it", False)))
    value = measures.contains("yes")(made)
    assert value[:2].tolist() == [1.0, 0.0] and np.isnan(value[2:]).all()


def test_contains_looks_for_whole_words_in_any_case(gpt2):
    made = Outcome(
        gpt2,
        [{"prompt": "p", "answer": ["fox", "dog"]}] * 3,
        texts=texts(("The FOX ran", True), ("foxes ran", True), ("a dog", True)),
    )
    assert measures.contains("{answer}")(made).tolist() == [1.0, 0.0, 1.0]
    assert measures.contains(["a dog", "cat"])(made).tolist() == [0.0, 0.0, 1.0]


def test_a_measure_of_the_users_own_sees_the_row(gpt2):
    measure = measures.text(lambda text, row: len(text) * row["k"], name="length")
    assert measure(Outcome(gpt2, [{"k": 2}], texts=texts(("abc", True)))).tolist() == [6.0]
    assert measure.needs == "text" and measure.name == "length"


def test_a_measure_says_what_it_needs(gpt2):
    with pytest.raises(lens.DataError, match="needs next-token logits"):
        measures.option(" yes", " no")(Outcome(gpt2, ROWS[:1]))
    with pytest.raises(lens.DataError, match="needs generated text"):
        measures.contains("yes")(Outcome(gpt2, ROWS[:1]))


def test_coherence_refuses_empty_looping_and_unlikely_texts():
    normal = Generation("a b c d e", [1, 2, 3, 4, 5], True)
    assert coherent(normal, -1.0, -2.0)
    assert not coherent(normal, -3.0, -2.0)
    assert coherent(Generation("one", [1], True), float("nan"), -2.0)
    assert not coherent(Generation("", [], True), -1.0, -2.0)
    assert not coherent(Generation("loop", [1, 2, 3, 4] * 3, True), -1.0, -2.0)
    assert coherent(Generation("twice", [1, 2, 3, 4] * 2, True), -1.0, -2.0)


def test_the_sustained_log_probability_is_the_mean_without_the_least_likely_token(model):
    made = [*generate(model, tiny.TEXTS[:2], max_new_tokens=4), Generation("a", [9], True), Generation("", [], True)]
    got = sustained_log_probability(model, tiny.TEXTS[:4], made)
    for row in range(2):
        prompt = model.tokenizer(tiny.TEXTS[row]).input_ids
        with torch.no_grad():
            logits = model.hf(torch.tensor([prompt + made[row].ids])).logits[0].log_softmax(dim=-1)
        each = sorted(float(logits[len(prompt) - 1 + k, token]) for k, token in enumerate(made[row].ids))
        assert got[row] == pytest.approx(np.mean(each[1:]), abs=1e-4)
    assert np.isnan(got[2:]).all()


def test_the_floor_is_the_same_every_time_and_leaves_the_random_state_alone(llama):
    torch.manual_seed(3)
    floors = [usual_floor(llama, tiny.TEXTS, max_new_tokens=4) for _ in range(2)]
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert floors[0] == floors[1] < 0
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize("prompts", [tiny.TEXTS, tiny.TEXTS[:1], tiny.TEXTS[:1] * 4], ids=["many", "one", "repeated"])
def test_unsteered_texts_are_coherent(llama, prompts):
    table = lens.Examples(pd.DataFrame({"prompt": prompts, "group": range(len(prompts))}))
    measure = measures.text(lambda text, row: 1.0, name="one", max_new_tokens=3)
    assert effects(llama, table, measure, progress=False)["coherence"].mean() == 1.0


def test_effects_come_in_the_order_of_the_rows(llama):
    table = lens.Examples(pd.DataFrame({"prompt": tiny.TEXTS, "k": range(5)}))
    direction = Direction.from_vector(torch.ones(64), "resid_post.1", residual_norm=5.0)
    measure = measures.text(lambda text, row: row["k"], name="k", max_new_tokens=3)
    got = effects(llama, table, measure, steering.Add(direction, 0.0))
    assert got["text"].tolist() == llama.generate(tiny.TEXTS, max_new_tokens=3)
    assert np.isnan(got["value"]).all()  # cut off: this model never ends


@pytest.mark.parametrize(
    ("text", "found"), [("No, I can't.", 1.0), ("nothing", 0.0), ("I say: NO!", 1.0), ("know", 0.0)]
)
def test_contains_finds_whole_words_beside_punctuation(llama, text, found):
    made = [Generation(text, [1, 2], finished=True)]
    assert measures.contains("no")(Outcome(llama, [{}], texts=made)).tolist() == [found]
