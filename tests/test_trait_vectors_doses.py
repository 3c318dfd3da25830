"""Doses, monitoring and persistence of trait vectors, on numbers whose answer is known."""

import functools
import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import tiny
from trait_data import WORDS, blank, lens_direction

import lens
import steering
from lens import DataError, ModelError
from steering.studies.trait_vectors import lasting, persistence, trait_score
from steering.studies.trait_vectors.doses import intensity
from steering.studies.trait_vectors.monitoring import monitored
from steering.studies.trait_vectors.persistence import half_life

pytestmark = pytest.mark.filterwarnings("ignore:Only")
PHI = NormalDist().cdf


# Doses, monitoring, persistence


def test_intensities_are_ordered_as_often_as_their_noise_allows():
    rng = np.random.default_rng(0)
    strengths = np.array([0.0, 0.5, 1.0, 2.0])
    scores = strengths[:, None] + rng.normal(0, 0.5, (4, 4000))
    gaps = [b - a for k, a in enumerate(strengths) for b in strengths[k + 1 :]]
    expected = np.mean([PHI(gap / (0.5 * 2**0.5)) for gap in gaps])
    found = intensity(strengths, scores, np.arange(4000))
    assert found["ordered"] == pytest.approx(expected, abs=0.01) and found["low"] < expected < found["high"]
    assert intensity(strengths, np.repeat(strengths[:, None], 3, axis=1), np.arange(3))["ordered"] == 1
    assert intensity(strengths, np.zeros((4, 3)), np.arange(3))["ordered"] == 0.5
    assert intensity(strengths[::-1], scores, np.arange(4000))["spearman"] == pytest.approx(-1)


def test_monitoring_within_conditions_leaves_out_what_only_tells_them_apart():
    rng = np.random.default_rng(0)
    conditions = np.repeat(["asked", "not"], 100)
    level = np.where(conditions == "asked", 3.0, 0.0)
    shared = rng.standard_normal(200)
    null = rng.standard_normal((200, 300))
    groups = np.arange(200)
    apart = monitored(level + rng.standard_normal(200), level + rng.standard_normal(200), conditions, groups, null)
    assert apart["r"] > 0.6 and abs(apart["within_r"]) < 0.15 and apart["within_p"] > 0.05
    score = level + shared
    score[:7] = np.nan
    told = monitored(level + shared + 0.5 * rng.standard_normal(200), score, conditions, groups, null)
    # r² = 1 / (1 + .25) within conditions.
    assert told["within_r"] == pytest.approx(1 / 1.25**0.5, abs=0.05)
    assert told["within_low"] < 1 / 1.25**0.5 < told["within_high"]
    assert told["within_p"] == pytest.approx(1 / 301) and (told["n"], told["missing"]) == (193, 7)
    assert monitored(np.zeros(200), level, conditions, groups, null)["r"] == 0
    nothing = monitored(level, np.full(200, np.nan), conditions, groups, null)
    assert nothing["missing"] == 200 and math.isnan(nothing["r"]) and set(nothing) == set(told)


def test_a_decay_is_recovered_and_what_does_not_decay_has_none():
    turn, rng = np.arange(8), np.random.default_rng(0)
    noisy = 3.0 * 0.7**turn + rng.normal(0, 0.1, (40, 8))
    found = lasting(noisy)
    assert found["rho"] == pytest.approx(0.7, abs=0.02) and found["rho_low"] < 0.7 < found["rho_high"]
    assert found["half_life"] == pytest.approx(math.log(0.5) / math.log(0.7), abs=0.2)
    assert found["kept"] == 0 and found["slope_high"] < 0 and found["first"] == pytest.approx(3, abs=0.1)
    steady = lasting(-2.0 + rng.normal(0, 0.1, (40, 8)))
    assert steady["rho"] == pytest.approx(1, abs=0.01) and steady["slope_low"] < 0 < steady["slope_high"]
    assert steady["kept"] == 1 and steady["half_life"] > 50
    exact = lasting(np.stack([0.5**turn, 4 * 0.5**turn]))
    assert exact["rho"] == pytest.approx(0.5, abs=1e-4) and exact["half_life"] == pytest.approx(1, abs=1e-3)


def test_turns_without_a_value_are_counted_and_nothing_is_made_of_nothing():
    change = np.array([[2.0, 2.0, np.nan], [2.0, 2.0, 2.0]])
    found = lasting(change)
    assert found["missing"] == 1 and found["kept"] == 1 and found["dialogues"] == 2
    nothing_there = lasting(np.full((2, 3), np.nan))
    assert nothing_there["missing"] == 6 and math.isnan(nothing_there["rho"])
    assert math.isnan(lasting(np.zeros((3, 3)))["rho"]) and lasting(np.zeros((3, 3)))["kept"] == 0
    assert half_life(1.0) == math.inf and half_life(0.25) == 0.5 and math.isnan(half_life(math.nan))


def test_a_dialogue_is_held_prompted_and_steered_turn_by_turn():
    model = blank("qwen3", 0, True)
    rng = np.random.default_rng(0)
    dialogues = [[str(rng.choice(WORDS)) for _ in range(2)] for _ in range(2)]
    direction = lens_direction(rng.standard_normal(64), "resid_post.1", model)
    measure = trait_score(" yes", " no")
    turns, lasts = persistence(
        model,
        dialogues,
        measure,
        direction=direction,
        prompt="she lied",
        strength=0.2,
        max_new_tokens=2,
        progress=False,
    )
    assert len(turns) == 3 * 2 * 2 and lasts["arm"].tolist() == ["prompted", "steered"]
    first = turns[turns["turn"] == 0].set_index(["arm", "dialogue"])
    moved = first.loc["steered", "projection"] - first.loc["plain", "projection"]
    np.testing.assert_allclose(moved, 0.2 * 24, rtol=1e-4)
    # Each arm's own replies stand in what it is asked next.
    said = turns[(turns["arm"] == "steered") & (turns["dialogue"] == 0)]["reply"].tolist()
    messages = [{"role": "user", "content": dialogues[0][0]}, {"role": "assistant", "content": said[0]}]
    messages.append({"role": "user", "content": dialogues[0][1]})
    rows = lens.Examples(pd.DataFrame({"prompt": [messages]}))
    value = steering.effects(model, rows, measure, steering.Add(direction, 0.2), progress=False)["value"].iloc[0]
    score = turns.set_index(["arm", "dialogue", "turn"])["score"]
    assert score["steered", 0, 1] == pytest.approx(value, abs=1e-4)
    change = (score["prompted"] - score["plain"]).unstack("turn").to_numpy()
    assert lasts.loc[0, "slope"] == pytest.approx(lasting(change)["slope"])


def test_a_trait_is_asked_for_where_the_chat_template_drops_system_messages():
    hf, tokenizer = tiny.hugging_face("llama", chat=True)
    tokenizer.chat_template = "{% for one in messages if one['role'] != 'system' %}<{{ one['content'] }}>{% endfor %}"
    model = lens.wrap(hf, tokenizer, name="llama")
    direction = lens_direction(np.ones(64), "resid_post.1", model)
    score = trait_score(" fox", " money")
    turns, _ = persistence(
        model, [["she", "was"]], score, direction=direction, prompt="lied", max_new_tokens=2, progress=False
    )
    first = turns[turns["turn"] == 0].set_index("arm")["score"]
    asked = lens.Examples(pd.DataFrame({"prompt": [[{"role": "user", "content": "lied she"}]], "group": [0]}))
    value = steering.effects(model, asked, score, progress=False)["value"].iloc[0]
    assert first["prompted"] == pytest.approx(value, abs=1e-4)
    assert abs(first["prompted"] - first["plain"]) > 1e-3


def test_dialogues_that_cannot_be_held_are_told():
    chats, direction = blank("qwen3", 0, True), lens_direction(np.ones(64), "resid_post.1", blank("qwen3", 0, True))
    ask = functools.partial(persistence, measure=trait_score(" yes", " no"), direction=direction)
    with pytest.raises(ModelError, match="no chat template"):
        ask(blank("llama", 0), [["a", "b"]], strength=1.0)
    with pytest.raises(DataError, match="as many in every one"):
        ask(chats, [["a", "b"], ["a"]], strength=1.0)
    with pytest.raises(DataError, match="a strength to steer with"):
        ask(chats, [["a", "b"]])
