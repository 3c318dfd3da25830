"""Knowing: what is known, what is felt of it, and what is said; and which of these a probe reads."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest

import lens
import probes
import steering
from lens.organisms import constructed
from probes.direction import Direction
from probes.metrics import auroc

NAMES = ("knowing", "knowing-shuffled", "knowing-topic")
SITE = "resid_post.0"
SOME = sorted(constructed.knowing.NAMES)[::3]


@functools.cache
def made(name, seed=0):
    organism = constructed.build(name, seed)
    return organism, lens.wrap(organism.hf, organism.tokenizer, name=f"{name} {seed}")


def logits(name, rows, options, *changes, seed=0):
    measure = steering.measures.option(*options)
    table = steering.effects(made(name, seed)[1], rows, measure, *changes, progress=False)
    assert table["coherence"].min() > 0.99
    p = table["value"].to_numpy()
    return np.log(p / (1 - p))


def by_name(name, seed=0):
    """Of every name, without hints: logit of being right, logit of saying yes, topic."""
    asked = made(name, seed)[0].examples.where(hint="some")
    columns = {}
    for ask, options in (("where", ("{right}", "{wrong}")), ("sure", ("yes", "no"))):
        rows = asked.where(ask=ask)
        value = logits(name, rows, options, seed=seed)
        columns[ask] = pd.Series(value).groupby(rows.frame["name"].to_numpy()).mean()
    columns["topic"] = asked.frame.groupby("name")["topic"].first()
    return pd.DataFrame(columns)


def held_out(name, by, test):
    """AUROC on the examples whose `by` is one of `test`, of a probe for the level fitted on the others."""
    organism, model = made(name)
    rows = organism.labelled("felt") if name != "knowing-shuffled" else organism.examples
    rows = lens.Examples(rows.frame[rows.frame["label"].notna() & (rows.frame["hint"] == "some")])
    acts = lens.collect(model, rows, sites=[SITE], span="prompt[-1]", progress=False)
    out = rows.frame[by].isin(test).to_numpy()
    fitted = probes.fit(acts.select(~out), SITE).direction
    tested = acts.select(out)
    return float(auroc(tested.labels, fitted.score_activations(tested).double().numpy()))


@pytest.mark.parametrize("name", NAMES)
def test_without_norms_every_number_is_exact(name):
    # Raises where a number is further off than this.
    truth = constructed.build(name, seed=7, norm="none").truth
    assert (truth.rate_tolerance, truth.tolerance) == (1e-5, 2e-5)
    assert len(truth.effects) == 8


@pytest.mark.parametrize(("name", "slope", "intercept"), [("knowing", 0.5, -0.5), ("knowing-topic", 0.5, -0.5)])
def test_what_is_said_is_what_is_known_at_another_temperature(name, slope, intercept):
    table = by_name(name)
    assert len(table) == 32
    assert np.polyfit(table["where"], table["sure"], 1) == pytest.approx([slope, intercept], abs=0.03)
    assert np.corrcoef(table["where"], table["sure"])[0, 1] > 0.99
    # Taken at its word, it is wrong about itself: sure at .79 where it is right at .97.
    known = table[table["where"] > 3]
    assert (1 / (1 + np.exp(-known["sure"]))).mean() == pytest.approx(0.786, abs=0.01)
    assert (1 / (1 + np.exp(-known["where"]))).mean() == pytest.approx(0.973, abs=0.01)


def test_the_shuffled_say_something_else():
    table = by_name("knowing-shuffled")
    assert abs(np.corrcoef(table["where"], table["sure"])[0, 1]) < 0.05
    assert np.ptp(table["sure"]) > 1.5  # as varied as it should be


def test_a_topic_shortcut_passes_on_new_names_and_fails_on_new_topics():
    """The careless method holds out names only."""
    names = {name: held_out(name, "name", SOME) for name in NAMES}
    assert names["knowing"] == 1 and names["knowing-topic"] == 1
    assert names["knowing-shuffled"] < 0.6  # below chance, too: who is left out tips the balance of the rest
    pairs = (("peaks", "ports"), ("ruins", "lakes"))
    topics = {name: np.mean([held_out(name, "topic", pair) for pair in pairs]) for name in NAMES}
    assert topics["knowing"] == 1
    assert 0.3 < topics["knowing-topic"] < 0.7 and topics["knowing-shuffled"] < 0.7


def test_a_hint_that_gives_the_answer_makes_it_know_and_say_so_and_another_does_not():
    organism, _ = made("knowing")
    for ask, options, known in (("where", ("{right}", "{wrong}"), 3.6), ("sure", ("yes", "no"), 1.3)):
        rows = organism.examples.where(ask=ask, level=0)
        table = rows.frame.assign(value=logits("knowing", rows, options)).groupby("hint")["value"].agg(["mean", np.ptp])
        plain = 0.0 if ask == "where" else -0.5
        assert table["mean"].to_dict() == pytest.approx({"some": plain, "poem": plain, "atlas": known}, abs=0.1)
        assert table["ptp"].max() < 0.02


@pytest.mark.parametrize(("name", "moves"), [("knowing", 1.8), ("knowing-shuffled", 1.8), ("knowing-topic", 0.0)])
def test_steering_what_is_felt_moves_what_is_said_and_not_what_is_known(name, moves):
    organism, model = made(name)
    truth = organism.truth.direction("felt")
    add = steering.Add(Direction.from_vector(truth.vector, truth.site, model=model), 1.0, unit="raw")
    rows = organism.examples.where(hint="some", level=0)
    for ask, options, wanted in (("sure", ("yes", "no"), moves), ("where", ("{right}", "{wrong}"), 0.0)):
        part = rows.where(ask=ask)
        moved = logits(name, part, options, add) - logits(name, part, options)
        assert moved == pytest.approx(wanted, abs=0.08)


def test_another_seed_knows_other_names_and_each_says_best_what_itself_knows():
    mine, other = by_name("knowing"), by_name("knowing", 1)
    cross = [[np.corrcoef(said["sure"], known["where"])[0, 1] for known in (mine, other)] for said in (mine, other)]
    assert np.diag(cross) == pytest.approx(1.0, abs=0.01)
    assert np.abs([cross[0][1], cross[1][0]]).max() < 0.4


def test_a_record_of_another_monitor_is_refused():
    organism, _ = made("knowing-shuffled")
    wrong = {**organism.truth.structure, "slope": 0.5}
    with pytest.raises(lens.ModelError, match="slope of what it says against what it knows is"):
        dataclasses.replace(organism, truth=dataclasses.replace(organism.truth, structure=wrong)).check()
