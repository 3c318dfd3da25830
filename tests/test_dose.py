"""Dose curves: each strength as if run alone, with controls of equal size; strengths are chosen coherently."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

import lens
import steering
from lens.intervals import mean_interval
from probes import Direction
from steering import dose_response, measures
from steering.effects import effects

MEASURE = measures.option(" yes", " no")
STRENGTHS = (-1.0, 0.5, 2.0)


@pytest.fixture(scope="module")
def examples():
    frame = pd.DataFrame({"prompt": [*tiny.TEXTS, "was that"], "group": [0, 0, 1, 1, 2, 2]})
    return lens.Examples(frame)


@pytest.fixture(scope="module")
def direction():
    vector = torch.randn(64, generator=torch.Generator().manual_seed(0))
    return Direction.from_vector(vector, "resid_post.1", residual_norm=8.0, difference=2.0)


@pytest.fixture(scope="module")
def curve(models, examples, direction):
    return dose_response(models("llama"), direction, examples, MEASURE, strengths=STRENGTHS, progress=False)


def of(table, arm):
    return table[table["arm"] == arm].set_index("strength")


def test_every_strength_and_zero_is_measured_in_both_arms(curve):
    for arm in ("direction", "random"):
        assert of(curve, arm).index.tolist() == [-1.0, 0.0, 0.5, 2.0]
    assert (curve["n"] == 6).all() and (curve["missing"] == 0).all() and (curve["groups"] == 3).all()
    assert (curve["measure"] == MEASURE.name).all() and (curve["site"] == "resid_post.1").all()


def test_one_batch_gives_what_separate_runs_give(llama, examples, direction, curve):
    for strength in (*STRENGTHS, 0.0):
        add = steering.Add(direction, strength)
        alone = effects(llama, examples, MEASURE, add, batch_tokens=1)
        row = of(curve, "direction").loc[strength]
        assert row["value"] == pytest.approx(alone["value"].mean(), abs=1e-5)
        assert row["coherence"] == pytest.approx(alone["coherence"].mean(), rel=1e-3)


def test_strength_zero_is_the_unsteered_model(llama, examples, curve):
    plain = effects(llama, examples, MEASURE)
    for arm in ("direction", "random"):
        row = of(curve, arm).loc[0.0]
        assert row["value"] == pytest.approx(plain["value"].mean(), abs=1e-6)
        assert row["change"] == 0.0 == row["change_low"] == row["change_high"]


def test_the_change_is_paired_and_its_interval_is_over_groups(llama, examples, direction, curve):
    steered = effects(llama, examples, MEASURE, steering.Add(direction, 2.0))["value"]
    change = (steered - effects(llama, examples, MEASURE)["value"]).to_numpy()
    row = of(curve, "direction").loc[2.0]
    assert row["change"] == pytest.approx(change.mean(), abs=1e-5)
    assert (row["change_low"], row["change_high"]) == pytest.approx(mean_interval(change, examples.groups), abs=1e-4)


@pytest.mark.parametrize("strengths", [(2.0, 0.0, -1.0, 0.5), (0.5, 2, -1, 2.0)])
def test_the_order_of_strengths_does_not_matter(llama, examples, direction, curve, strengths):
    again = dose_response(llama, direction, examples, MEASURE, strengths=strengths, progress=False)
    pd.testing.assert_frame_equal(again, curve)


@pytest.mark.parametrize("tokens", [1, 20])
def test_the_batch_size_does_not_matter(llama, examples, direction, curve, tokens):
    again = dose_response(
        llama, direction, examples, MEASURE, strengths=STRENGTHS, random_draws=0, batch_tokens=tokens, progress=False
    )
    wanted = curve[curve["arm"] == "direction"]
    pd.testing.assert_frame_equal(again, wanted, atol=1e-5, rtol=1e-3)


def test_the_random_arm_moves_the_stream_as_far(llama, examples, direction):
    own, control = (steering.Add(one, 2.0)(torch.zeros(1, 64)) for one in (direction, direction.random_like(0)))
    assert float(own.norm()) == pytest.approx(float(control.norm()), rel=1e-5) == pytest.approx(16.0)


def test_the_random_arm_is_the_mean_of_its_draws(llama, examples, direction):
    curve = dose_response(llama, direction, examples, MEASURE, strengths=[2.0], random_draws=2, seed=5, progress=False)
    draws = [
        effects(llama, examples, MEASURE, steering.Add(direction.random_like(seed), 2.0))["value"].mean()
        for seed in (5, 6)
    ]
    row = of(curve, "random").loc[2.0]
    assert row["value"] == pytest.approx(np.mean(draws), abs=1e-5)
    assert [row["low"], row["high"]] == pytest.approx(sorted(draws), abs=1e-5)


def test_units_are_what_they_say(llama, examples, direction):
    norm = dose_response(llama, direction, examples, MEASURE, strengths=[0.5], random_draws=0, progress=False)
    for unit, strength in (("difference", 2.0), ("raw", 4.0)):
        other = dose_response(
            llama, direction, examples, MEASURE, strengths=[strength], unit=unit, random_draws=0, progress=False
        )
        assert other["value"].tolist() == pytest.approx(norm["value"].tolist(), abs=1e-5)
        assert (other["unit"] == unit).all()


def test_the_prompted_arm_is_unsteered(llama, examples, direction):
    asked = lens.Examples.from_texts(["say yes: the fox", "say yes: she lied"])
    curve = dose_response(
        llama, direction, examples, MEASURE, strengths=[1.0], random_draws=0, prompted=asked, progress=False
    )
    row = of(curve, "prompt").loc[0.0]
    assert row["value"] == pytest.approx(effects(llama, asked, MEASURE)["value"].mean(), abs=1e-6)
    assert row["n"] == 2


def test_text_measures_give_curves_too(llama, examples, direction):
    measure = measures.text(lambda text, row: float("fox" in text), name="fox", max_new_tokens=3)
    curve = dose_response(llama, direction, examples, measure, strengths=[1.0], random_draws=1, progress=False)
    assert (curve["missing"] == 6).all() and (curve["n"] == 0).all() and curve["value"].isna().all()
    assert of(curve, "direction").loc[0.0, "coherence"] == 1.0


def test_without_strengths_there_is_no_curve(llama, examples, direction):
    with pytest.raises(lens.DataError, match="No strengths"):
        dose_response(llama, direction, examples, MEASURE, strengths=())


def table(rows):
    made = pd.DataFrame(rows, columns=["strength", "change", "coherence"]).assign(arm="direction")
    return made.assign(change_low=made["change"] - 0.01, change_high=made["change"] + 0.01)


def test_the_strength_with_the_largest_coherent_effect_is_chosen():
    rows = [(-2, -0.9, 0.2), (-1, -0.3, 0.95), (0, 0.0, 1.0), (1, 0.4, 0.92), (2, 0.8, 0.5)]
    assert steering.choose_strength(table(rows)) == 1.0
    assert steering.choose_strength(table(rows), coherence=0.4) == 2.0
    assert steering.choose_strength(table(rows), coherence=0.1, share=1.0) == -2.0
    assert steering.choose_strength(table(rows), coherence=0.94) == -1.0


def test_the_smallest_strength_with_nearly_that_effect_is_enough():
    rows = [(0, 0.0, 1.0), (0.5, 0.5, 1.0), (1, 0.95, 1.0), (2, 1.0, 1.0)]
    assert steering.choose_strength(table(rows)) == 1.0
    assert steering.choose_strength(table(rows), share=1.0) == 2.0
    assert steering.choose_strength(table(rows), share=0.4) == 0.5


def test_coherence_is_relative_to_the_unsteered_models():
    rows = [(0, 0.0, 0.5), (1, 0.4, 0.48), (2, 0.8, 0.3)]
    assert steering.choose_strength(table(rows)) == 1.0


def test_of_equal_effects_the_smaller_strength_is_chosen():
    assert steering.choose_strength(table([(0, 0, 1), (2, 0.5, 1), (1, 0.5, 1), (-1, 0.1, 1)])) == 1.0


def test_other_arms_are_not_chosen_from():
    rows = table([(0, 0, 1), (1, 0.1, 1)])
    other = table([(0, 0, 1), (3, 0.9, 1)]).assign(arm="random")
    assert steering.choose_strength(pd.concat([rows, other])) == 1.0
    with pytest.raises(lens.DataError, match="No arm 'direction'"):
        steering.choose_strength(other)
    with pytest.raises(lens.DataError, match="smaller strengths"):
        steering.choose_strength(table([(0, 0, 1), (1, 0.1, 0.5)]))
    with pytest.raises(lens.DataError, match="has a value"):
        steering.choose_strength(table([(0, np.nan, 1), (1, np.nan, 1)]))


def test_no_effect_chooses_no_strength():
    flat = table([(-1, 0.005, 1.0), (0, 0.0, 1.0), (1, -0.005, 1.0)])
    with pytest.raises(lens.DataError, match="holds 0"):
        steering.choose_strength(flat)
