"""Additivity: nothing is left over where changes add up, and what is left over elsewhere is what was planted."""

import built
import numpy as np
import pytest
from scipy.special import expit, logit

import lens
import steering
from lens.organisms.constructed import refusal, traits
from probes.direction import Direction
from steering.measures import Measure

pytestmark = pytest.mark.filterwarnings("ignore:Only .* groups")


def made(name, norm="none"):
    return built.made(name, norm)


def log_odds(*options):
    share = steering.measures.option(*options)
    return Measure(f"log-odds of {options[0]}", "logits", lambda o: logit(share(o)), share.coherence)


def add(name, trait, strength):
    organism, model = made(name)
    planted = organism.truth.direction(trait)
    return steering.Add(Direction.from_vector(planted.vector, planted.site, model=model), strength, unit="raw")


def changes(name, rows, measure, *interventions, **options):
    table = steering.additivity(made(name)[1], rows, measure, *interventions, progress=False, **options)
    return table.set_index("arm")


def test_what_adds_up_in_the_model_adds_up_in_log_odds():
    rows = made("traits-correlated")[0].examples.where(ask="warmth")
    both = (add("traits-correlated", "warmth", 0.5), add("traits-correlated", "boldness", -2.0))
    found = changes("traits-correlated", rows, log_odds("smiles", "frowns"), *both, names=["warm", "timid"])
    wanted = {"warm": 1.0, "timid": -2.0, "together": -1.0, "sum of parts": -1.0, "interaction": 0.0}
    assert found["change"].to_dict() == pytest.approx(wanted, abs=2e-5)
    assert found["kind"].tolist() == ["alone", "alone", "together", "sum", "interaction"]
    assert (found["n"] == 54).all() and (found["groups"] == rows.frame["group"].nunique()).all()
    left = found.loc["interaction"]
    assert left["low"] - 1e-6 <= 0 <= left["high"] + 1e-6
    assert (found.loc[["warm", "timid", "together"], "coherence"] > 0.99).all()
    assert found.loc[["sum of parts", "interaction"], "coherence"].isna().all()


def test_a_bounded_measure_saturates_as_its_bounds_say():
    rows = made("traits")[0].examples.where(ask="warmth", warmth=0)
    twice = [add("traits", "warmth", 1.0), add("traits", "warmth", 1.0)]
    found = changes("traits", rows, steering.measures.option("smiles", "frowns"), *twice, names=["one", "two"])
    alone, together = expit(2) - 0.5, expit(4) - 0.5
    assert found.loc["interaction", "change"] == pytest.approx(together - 2 * alone, abs=1e-5)
    assert found.loc["interaction", "p"] < 0.01


def test_two_halves_of_an_overdose_interact_by_the_planted_turn():
    rows = made("refusal-overdose")[0].examples.where(ask=refusal.ASK, persona=refusal.NEUTRAL)
    halves = [add("refusal-overdose", "thrill", 1.25), add("refusal-overdose", "thrill", 1.25)]
    found = changes("refusal-overdose", rows, log_odds(*refusal.ANSWERS), *halves, names=["one", "two"])["change"]
    a = refusal.GAIN * refusal.COSINES["thrill"]
    # Each half is below the knee, both together are past the ramp.
    assert found["one"] == pytest.approx(1.25 * a, abs=1e-4)
    assert found["interaction"] == pytest.approx(-refusal.TURN * a, abs=1e-4)


def test_the_order_declared_is_the_order_that_acts():
    rows = made("traits")[0].examples.where(ask="warmth", warmth=0)
    push = add("traits", "warmth", 3.0)
    cap = steering.Clamp(push.direction, high=1.0)
    measure = log_odds("smiles", "frowns")
    after = changes("traits", rows, measure, push, cap)["change"]
    before = changes("traits", rows, measure, cap, push)["change"]
    assert after["together"] == pytest.approx(traits.GAIN * 1.0, abs=1e-4)
    assert before["together"] == pytest.approx(traits.GAIN * 3.0, abs=1e-4)
    assert after["interaction"] == pytest.approx(-traits.GAIN * 2.0, abs=1e-4)
    assert list(after.index[:2]) == ["1. Add at resid_post.0", "2. Clamp at resid_post.0"]


def test_all_figures_are_on_the_rows_that_every_arm_has():
    organism, _ = made("traits")
    rows = organism.examples.where(ask="warmth")
    share = steering.measures.option("smiles", "frowns")
    # Sure answers are missing: more of them, the further it is steered.
    unsure = Measure("unsure", "logits", lambda o: np.where(share(o) < 0.95, share(o), np.nan))
    found = changes("traits", rows, unsure, add("traits", "warmth", 0.5), add("traits", "warmth", 0.4))
    shares = [expit(2.0 * (rows.frame["warmth"].to_numpy() + strength)) for strength in (0, 0.5, 0.4, 0.9)]
    there = np.array(shares) < 0.95
    whole = there.all(axis=0)
    assert 0 < whole.sum() < len(rows) and (found["n"] == whole.sum()).all()
    assert found["missing"].tolist()[:3] == [int((~(one & there[0])).sum()) for one in there[1:]]
    change = shares[3] - shares[1] - shares[2] + shares[0]
    assert found.loc["interaction", "change"] == pytest.approx(change[whole].mean(), abs=1e-5)
    assert found.loc["sum of parts", "change"] + found.loc["interaction", "change"] == pytest.approx(
        found.loc["together", "change"]
    )


def test_mistakes_are_named():
    _, model = made("traits")
    rows, one = made("traits")[0].examples.where(ask="warmth"), add("traits", "warmth", 1.0)
    measure = steering.measures.option("smiles", "frowns")
    for error, message, given, options in (
        (lens.DataError, "given: 1", [one], {}),
        (lens.DataError, "A name for each of 2", [one, one], {"names": ["a"]}),
        (lens.DataError, "A name for each of 2", [one, one], {"names": ["a", "a"]}),
        (lens.DataError, "A name for each of 2", [one, one], {"names": ["a", "together"]}),
    ):
        with pytest.raises(error, match=message):
            steering.additivity(model, rows, measure, *given, **options)


def test_the_bars_show_every_arm():
    rows = made("traits")[0].examples.where(ask="warmth")
    table = steering.additivity(
        made("traits")[1],
        rows,
        log_odds("smiles", "frowns"),
        add("traits", "warmth", 1.0),
        add("traits", "boldness", 1.0),
        progress=False,
    )
    bars = lens.figures.additivity_bars(table).data[0]
    assert list(bars.y) == table["arm"].tolist() and np.array(bars.x) == pytest.approx(table["change"])
    assert len(set(bars.marker.color)) == 4
