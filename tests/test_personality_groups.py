"""Scenes of one group are one piece of evidence; random directions are pushed as those of the condition are."""

import functools

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from personality_data import WORDS, short

import lens
from lens import DataError
from probes import Direction
from steering import Ablate, Add, measures
from steering.studies import personality
from steering.studies.personality import Behaviour, Condition

BASE = ["was that money", "she lied about", "the fox was", "brown money"]


@pytest.fixture(scope="module")
def model():
    return lens.wrap(*tiny.hugging_face("llama", seed=1), name="llama")


@pytest.fixture(scope="module")
def direction(model):
    rows = [model.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (" yes", " no")]
    weights = model.hf.lm_head.weight.detach().float()
    return Direction.from_vector(weights[rows[0]] - weights[rows[1]], "resid_post.1", model=model)


def scenes(copies: int) -> lens.Examples:
    rows = pd.DataFrame({"prompt": BASE, "group": range(4)})
    return lens.Examples(rows.loc[rows.index.repeat(copies)].reset_index(drop=True))


def row(model, condition, copies):
    calm = Behaviour("calm", scenes(copies), measures.option(" yes", " no"))
    given = {"conditions": [condition], "behaviours": [calm], "random_draws": 6, "least_mass": 0.0, "progress": False}
    return personality.run(model, short(), **given).row(f"behaviour follows {condition.name}")


@pytest.mark.parametrize("kind", ["steered", "prompted"])
def test_copies_of_scenes_add_nothing(model, direction, kind):
    conditions = {
        "steered": Condition.steered("calm", Add(direction, 3.0, unit="raw"), Add(direction, -3.0, unit="raw")),
        "prompted": Condition.prompted("calm", WORDS[:5], WORDS[5:]),
    }
    once, often = (row(model, conditions[kind], copies) for copies in (1, 10))
    assert often["value"] == pytest.approx(once["value"], abs=1e-5)
    assert often["low"] == pytest.approx(once["low"], abs=0.02) and often["groups"] == once["groups"]
    assert often["high"] == pytest.approx(once["high"], abs=0.02) and often["p"] == pytest.approx(once["p"], abs=0.02)


def test_a_condition_whose_random_directions_have_no_neutral_value_is_refused_before_anything_runs(model, direction):
    known = Direction.from_vector(direction.vector, "resid_post.1", model=model, neutral=0.3)
    condition = Condition.steered("calm", Add(known, 1.0, unit="raw"), Ablate(known))
    given = {"conditions": [condition], "progress": False}
    with pytest.raises(DataError, match=r"'calm, steered': no random directions can stand beside it .*random_draws=0"):
        personality.run(model, short(), **given)
    assert not personality.run(model, short(), random_draws=0, **given).claims["shown"].any()


def test_a_state_is_read_after_the_steered_site_only(model, direction):
    """At the site itself it is what was added: arithmetic."""
    calm = Condition.prompted("calm", WORDS[:5], WORDS[5:])
    pushed = Condition.steered("calm", Add(direction, 1.0, unit="raw"), Add(direction, -1.0, unit="raw"))
    given = {"conditions": [calm, pushed], "scenes": BASE, "random_draws": 2, "progress": False}
    at, after = (personality.run(model, short(), sites=[f"resid_post.{k}"], **given) for k in (1, 2))
    assert "state holds calm, steered" not in set(at.claims["claim"])
    assert any("no site after the steered one" in note for note in at.notes)
    assert "state holds calm, steered" in set(after.claims["claim"])


def test_steering_that_is_written_with_a_turned_direction_has_the_same_null(model, direction):
    """Add(d, −s) and Add(−d, s) are the same push."""
    ways = [Add(direction, -3.0, unit="raw"), Add(-direction, 3.0, unit="raw")]
    found = [row(model, Condition.steered("calm", Add(direction, 3.0, unit="raw"), low), 1) for low in ways]
    for name in ("value", "p", "low", "high"):
        assert found[0][name] == pytest.approx(found[1][name], abs=1e-5)
    assert np.isfinite(found[0]["p"]) and found[0]["p"] > 1e-6


def test_random_directions_have_the_angle_of_the_two_sides():
    def drawn(high, low):
        return [one.direction.vector for one in Condition.steered("calm", high, low).random(5).changes]

    push = functools.partial(Add, strength=1.0, unit="raw")
    one, other = (Direction.from_vector(vector, "resid_post.1") for vector in np.eye(64)[:2])
    high, low = drawn(push(one), push(-one))
    assert torch.equal(high, -low)
    aslant = Direction.from_vector(one.vector + other.vector, "resid_post.1")
    high, low = drawn(push(one), push(aslant))
    assert float(high @ low) == pytest.approx(0.5**0.5, abs=1e-4) and float(low.norm()) == pytest.approx(1)
    assert abs(float(high @ one.vector)) < 0.5
