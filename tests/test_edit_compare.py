"""steering.compare: what a change does to a behaviour and what it costs, on organisms where both are planted."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from built import made
from edited import is_as, state
from surgery_data import EVEN, STRIKES, operate

import lens
import steering
from lens import DataError
from lens.intervals import mean_interval
from probes import Direction
from probes.metrics import adjust
from steering.measures import Measure
from steering.paired import sign_flip

pytestmark = pytest.mark.filterwarnings("ignore:Fewer than 20 groups")

SPEAKS = steering.measures.option("sabotage", "hm")
VERDICT = steering.measures.option("{correct}", "{incorrect}")


def tables(name):
    examples = made(name)[0].examples
    return {"strikes": examples.where(ask="act", provoked=1), "even": examples.where(ask="even")}


def compared(name, change, examples, measures, **settings):
    return steering.compare(made(name)[1], change, examples, measures, progress=False, **settings).set_index("measure")


def test_surgery_of_causal_rows_moves_the_behaviour_and_nothing_else():
    model = made("surgery")[1]
    before = state(model)
    table = compared("surgery", operate("surgery"), tables("surgery"), {"strikes": STRIKES, "even": EVEN})
    assert is_as(model, before)
    assert table.loc["strikes", "change"] < -0.9 and table.loc["strikes", "high"] < -0.9
    assert table.loc["strikes", "p_holm"] < 0.01
    assert table.loc["even", ["change", "low", "high"]].abs().max() < 1e-3


def test_surgery_of_dead_rows_changes_nothing_though_the_selection_stands_out():
    chosen = operate("surgery-dead").select(made("surgery-dead")[1])
    table = compared(
        "surgery-dead", operate("surgery-dead"), tables("surgery-dead"), {"strikes": STRIKES, "even": EVEN}
    )
    assert chosen.excess > 50 and table["change"].abs().max() < 1e-3


@functools.cache
def agents(name):
    """Silencing the malicious voice: what it says where it is tagged, and how it judges there."""
    organism, model = made(name)
    truth = organism.truth.direction("malicious")
    change = steering.Orthogonalize(Direction.from_vector(truth.vector, truth.site, model=model))
    examples = {
        "speaks": organism.examples.where(ask="speak", agent="malicious", persona=0),
        "verdict": organism.examples.where(ask="verdict", agent="malicious"),
    }
    return compared(name, change, examples, {"speaks": SPEAKS, "verdict": VERDICT})


def test_silencing_an_entangled_voice_costs_the_verdict_and_the_table_says_so():
    clean, entangled = agents("agents"), agents("agents-entangled")
    for table in (clean, entangled):
        assert table.loc["speaks", "before"] > 0.95 and table.loc["speaks", "high"] < -0.9
    assert clean.loc["verdict", "before"] > 0.9 and abs(clean.loc["verdict", "change"]) < 0.01
    assert entangled.loc["verdict", "after"] == pytest.approx(0.5, abs=0.02)
    assert entangled.loc["verdict", "high"] < -0.4 and entangled.loc["verdict", "p_holm"] < 0.01


def fixed(name, values):
    """A measure of known values, one list per call."""
    calls = iter(values)
    return Measure(name, "logits", lambda outcome: np.array(next(calls))[: len(outcome.rows)])


def test_every_number_is_the_paired_one_over_groups():
    rng = np.random.default_rng(0)
    before, moved = rng.standard_normal(32), rng.standard_normal(32) + 0.4
    after = before + moved
    after[3] = np.nan
    moved[3] = np.nan
    frame = pd.DataFrame({"prompt": ["the calm ?"] * 32, "label": [0, 1] * 16, "group": np.repeat(np.arange(8), 4)})
    examples, groups = lens.Examples(frame), np.repeat(np.arange(8), 4)
    change = operate("surgery")
    with pytest.warns(UserWarning, match="Fewer than 20 groups"):
        table = compared(
            "surgery", change, examples, {"a": fixed("a", [before, after]), "b": fixed("b", [before, before])}, seed=3
        )
    a, b = table.loc["a"], table.loc["b"]
    there = ~np.isnan(moved)
    assert a["before"] == pytest.approx(before[there].mean()) and a["after"] == pytest.approx(after[there].mean())
    assert a["change"] == pytest.approx(moved[there].mean())
    assert (a["low"], a["high"]) == pytest.approx(mean_interval(moved, groups, seed=3))
    assert a["p"] == sign_flip(moved, groups, seed=3) and b["p"] == 1
    assert list(table["p_holm"]) == list(adjust(table["p"].to_numpy()))
    assert (a["n"], a["missing"], a["groups"], b["n"]) == (31, 1, 8, 32)


def test_an_intervention_is_compared_as_an_edit_is():
    organism, model = made("agents")
    truth = organism.truth.direction("malicious")
    d = Direction.from_vector(truth.vector, truth.site, model=model)
    rows = organism.examples.where(ask="speak", agent="malicious", said="none", persona=0)
    every = steering.Ablate(d, to="zero", sites=steering.writers(model), span="all")
    found = [
        steering.compare(model, change, rows, {"speaks": SPEAKS}, progress=False)
        for change in (every, steering.Orthogonalize(d))
    ]
    assert found[0]["change"].iloc[0] == pytest.approx(found[1]["change"].iloc[0], abs=1e-4)


def test_what_cannot_be_compared_is_told():
    model, change = made("surgery")[1], operate("surgery")
    with pytest.raises(DataError, match="at least one measure"):
        steering.compare(model, change, tables("surgery"), {})
    with pytest.raises(DataError, match=r"No rows for odd; given: strikes, even"):
        steering.compare(model, change, tables("surgery"), {"odd": EVEN})
    before = state(model)

    def fail(outcome):
        raise RuntimeError("measure")

    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="measure"):
        warnings.simplefilter("ignore")
        steering.compare(model, change, tables("surgery"), {"even": Measure("bad", "logits", fail)}, progress=False)
    assert is_as(model, before)
