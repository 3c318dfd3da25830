"""The working range: its definition on made-up curves, and the planted knee of an organism."""

import functools

import numpy as np
import pandas as pd
import pytest
from built import made
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit

import lens
import steering
from lens.organisms.constructed import refusal
from probes.direction import Direction
from steering.measures import Measure


def curve(changes, *, coherence=None, width=0.01, arm="direction"):
    """changes: strength → change."""
    table = pd.DataFrame({"strength": list(changes), "change": list(changes.values())}).assign(arm=arm)
    table["coherence"] = 1.0 if coherence is None else table["strength"].map(coherence)
    return table.assign(change_low=table["change"] - width, change_high=table["change"] + width)


def side(table, name="+"):
    return table.set_index("side").loc[name]


def test_it_goes_from_the_first_effect_to_the_knee():
    found = steering.working_range(curve({0: 0, 0.25: 0.005, 0.5: 0.4, 1: 0.8, 2: 0.81, 3: 0.82}))
    row = side(found)
    assert (row["low"], row["high"], row["knee"], row["change"], row["ended_by"]) == (0.5, 1, 1, 0.8, "knee")
    assert found["side"].tolist() == ["+"]


def test_each_side_has_its_own_and_strengths_keep_their_sign():
    found = steering.working_range(curve({-2: -0.9, -1: -0.5, 0: 0, 1: -0.4, 2: -0.2, 4: 0.9}))
    down, up = side(found, "-"), side(found)
    assert (down["low"], down["high"], down["ended_by"]) == (-1, -2, "grid") and np.isnan(down["knee"])
    assert (up["low"], up["high"], up["knee"], up["change"]) == (1, 1, 1, -0.4)


def test_coherence_ends_it_relative_to_the_unsteered_models():
    rows = {0: 0, 1: 0.3, 2: 0.6, 3: 0.9}
    sound = {0: 0.8, 1: 0.78, 2: 0.74, 3: 0.1}
    row = side(steering.working_range(curve(rows, coherence=sound)))
    assert (row["high"], row["ended_by"]) == (2, "coherence")
    assert side(steering.working_range(curve(rows, coherence=sound), coherence=0.95))["high"] == 1
    row = side(steering.working_range(curve(rows, coherence=sound), coherence=None))
    assert (row["high"], row["ended_by"]) == (3, "grid")
    row = side(steering.working_range(curve(rows, coherence=sound | {1: 0.2})))
    assert np.isnan(row["low"]) and row["ended_by"] == "incoherent"


def test_a_strength_whose_answers_are_all_missing_ends_it():
    table = curve({0: 0, 1: 0.3, 2: np.nan, 3: 0.9})
    assert side(steering.working_range(table))[["high", "ended_by"]].tolist() == [1, "interval"]


def test_no_effect_is_no_range():
    row = side(steering.working_range(curve({0: 0, 1: 0.005, 2: -0.004})))
    assert row["ended_by"] == "no effect" and np.isnan([row["low"], row["high"], row["knee"], row["change"]]).all()


def test_other_arms_are_not_looked_at():
    rows = curve({0: 0, 1: 0.5, 2: 0.9})
    both = pd.concat([rows, curve({0: 0, 1: 0.9, 2: 0.1}, arm="random"), curve({0: 0.7}, arm="prompt")])
    pd.testing.assert_frame_equal(steering.working_range(both), steering.working_range(rows))
    for table, message in (
        (curve({0: 0, 1: 1}, arm="random"), "No arm 'direction'"),
        (curve({0: 0}), "strength 0 and others"),
        (curve({1: 1, 2: 2}), "strength 0 and others"),
        (curve({0: 0, 1: 1}, coherence={}), "coherence=None"),
    ):
        with pytest.raises(lens.DataError, match=message):
            steering.working_range(table)


@given(st.integers(1, 11), st.floats(-0.5, 0.02), st.floats(0.1, 10), st.sampled_from([1, -1]), st.booleans())
def test_a_knee_on_the_grid_is_found_whatever_follows_and_in_any_unit(place, after, size, sign, mirrored):
    grid = np.arange(13) * 0.25
    knee = grid[place]
    effect = sign * size * np.where(grid <= knee, grid, knee + after * (grid - knee))
    way = -1 if mirrored else 1
    rows = curve(dict(zip(way * grid, effect, strict=True)), width=0.01 * size)
    row = side(steering.working_range(rows.sample(frac=1, random_state=0)), "-" if mirrored else "+")
    assert row["knee"] == way * knee and row["high"] == way * knee and row["low"] == way * 0.25
    assert row["ended_by"] == "knee"


def log_odds(*options):
    share = steering.measures.option(*options)
    return Measure(f"log-odds of {options[0]}", "logits", lambda o: logit(share(o)), share.coherence)


@functools.cache
def refusals(name, trait, step):
    """Refusal over what is added of a trait, from a neutral persona."""
    organism, model = made(name)
    planted = organism.truth.direction(trait)
    rows = organism.examples.where(ask=refusal.ASK, persona=refusal.NEUTRAL)
    grid = np.arange(-int(3 / step), int(3 / step) + 1) * step
    return steering.dose_response(
        model,
        Direction.from_vector(planted.vector, planted.site, model=model),
        rows,
        log_odds(*refusal.ANSWERS),
        strengths=grid.tolist(),
        unit="raw",
        random_draws=0,
        progress=False,
    )


@pytest.mark.filterwarnings("ignore:Only .* groups")
@pytest.mark.parametrize("step", [0.25, 0.4])
@pytest.mark.parametrize("trait", refusal.COSINES)
def test_the_planted_knee_is_recovered_within_a_step_of_the_grid(trait, step):
    found = steering.working_range(refusals("refusal-overdose", trait, step))
    for name, sign in (("+", 1), ("-", -1)):
        row = side(found, name)
        assert row["ended_by"] == "knee" and abs(sign * row["knee"] - refusal.KNEE) < step
        assert row["low"] == pytest.approx(sign * step) and row["high"] == row["knee"]
        expected = refusal.GAIN * refusal.COSINES[trait] * row["high"]
        assert row["change"] == pytest.approx(expected, rel=0.05)


@pytest.mark.filterwarnings("ignore:Only .* groups")
def test_where_no_knee_is_planted_none_is_found_and_where_no_effect_is_no_range():
    found = steering.working_range(refusals("refusal", "duty", 0.4))
    assert found["ended_by"].tolist() == ["grid", "grid"] and found["knee"].isna().all()
    assert found["high"].abs().tolist() == pytest.approx([2.8, 2.8])
    apart = steering.working_range(refusals("refusal-apart", "duty", 0.4))
    # The norms' scale is left of an effect: some thousandths of a unit.
    assert (apart["ended_by"] == "no effect").all() or apart["change"].abs().max() < 0.05


def test_the_figure_shades_the_range():
    rows = curve({-1: -0.2, 0: 0, 1: 0.3}).assign(value=0.5, low=0.4, high=0.6, measure="P(yes)", unit="norm")
    working = steering.working_range(rows)
    shaded = lens.figures.dose_response(rows, working=working)
    assert len(shaded.layout.shapes) == 2 and "working range" in [trace.name for trace in shaded.data]
    ends = sorted((shape.x0, shape.x1) for shape in shaded.layout.shapes)
    assert ends[1][0] <= 1 <= ends[1][1] and ends[0][0] <= -1 <= ends[0][1]
    assert not lens.figures.dose_response(rows).layout.shapes
    none = lens.figures.dose_response(rows, working=working.assign(low=np.nan, high=np.nan))
    assert not none.layout.shapes
