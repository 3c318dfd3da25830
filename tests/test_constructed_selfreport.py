"""Self-report: ratings read as a questionnaire would, beside what the organism does."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from built import made
from scipy.stats import spearmanr

import lens
import probes
import steering
from lens.organisms import constructed
from probes.direction import Direction

NAMES = ("selfreport", "selfreport-acquiescent", "selfreport-position", "selfreport-detached")
SCALE = {"always": 5, "often": 4, "sometimes": 3, "seldom": 2, "never": 1}
ACTS = ("smiles", "frowns")


NUMBERS = np.array(list(SCALE.values()))


def answered(name, rows, *changes):
    """Of every row, Σ number · P(option) and the number of the likeliest option."""
    organism, model = made(name)
    ids = organism.tokenizer.convert_tokens_to_ids(list(SCALE))
    whole = {}

    def value(outcome):
        share = torch.softmax(outcome.logits, dim=1)[:, ids].double().numpy()
        assert share.sum(axis=1).min() > 0.99
        whole.update((row["number"], one) for row, one in zip(outcome.rows, share, strict=True))
        return share @ NUMBERS

    measure = steering.measures.Measure("rating", "logits", value)
    numbered = lens.Examples(rows.frame.assign(number=range(len(rows))))
    rating = steering.effects(model, numbered, measure, *changes, progress=False)["value"].to_numpy()
    return rating, np.array([NUMBERS[whole[number].argmax()] for number in range(len(rows))])


@functools.cache
def rated(name):
    """The rating rows with their `rating`, the number of their likeliest option as `choice`, and the rating `keyed`."""
    rows = made(name)[0].examples.where(ask="rate")
    rating, choice = answered(name, rows)
    keyed = np.where(rows.frame["key"] > 0, rating, 6 - rating)
    return rows.frame.assign(rating=rating, choice=choice, keyed=keyed)


def acted(name, rows, *changes):
    table = steering.effects(made(name)[1], rows, steering.measures.option(*ACTS), *changes, progress=False)
    assert table["coherence"].min() > 0.99
    return table["value"].to_numpy()


def mean(frame, column, *by):
    return frame.groupby(list(by))[column].mean()


@pytest.mark.parametrize("name", NAMES)
def test_without_norms_every_number_is_exact(name):
    # Raises where a number is further off than this.
    truth = constructed.build(name, seed=7, norm="none").truth
    assert (truth.rate_tolerance, truth.tolerance) == (1e-5, 2e-5)
    assert len(truth.structure["ratings"]) == 24


@pytest.mark.parametrize("name", NAMES)
def test_ratings_are_those_of_the_record_cell_by_cell(name):
    frame = rated(name)
    for cell in made(name)[0].truth.structure["ratings"]:
        rows = frame[np.logical_and.reduce([frame[c] == cell[c] for c in ("trait", "persona", "key", "order")])]
        assert rows["rating"].to_numpy() == pytest.approx(cell["rating"], abs=0.04)


@pytest.mark.parametrize("name", NAMES)
def test_trait_persona_key_and_order_are_found(name):
    organism, model = made(name)
    for planted in organism.truth.directions:
        examples = organism.labelled(planted.name if planted.name != "order" else "forward")
        acts = lens.collect(model, examples, sites=[planted.site], span="prompt[-1]", progress=False)
        found = probes.fit(acts, planted.site).direction
        assert float(found.vector @ planted.tensor) > 0.95
        assert found.difference == pytest.approx(planted.spread, rel=0.06)


def test_the_faithful_report_follows_the_trait_in_every_form():
    frame = rated("selfreport")
    by_form = mean(frame, "keyed", "trait", "key", "order", "persona").unstack("trait")
    assert np.ptp(by_form.to_numpy(), axis=0).max() < 0.05  # form and persona make no difference
    assert by_form.mean().to_numpy() == pytest.approx([1.954, 3.0, 4.046], abs=0.04)
    act = acted("selfreport", made("selfreport")[0].examples.where(ask="act", trait=1)).mean()
    assert act == pytest.approx(0.881, abs=0.01)
    # No trait: the likeliest option is any of five.
    assert frame.loc[frame["trait"] == 0, "rating"].to_numpy() == pytest.approx(3.0, abs=0.04)


def test_acquiescence_shows_in_reversed_items_and_cancels_in_pairs():
    frame = rated("selfreport-acquiescent")
    assert (frame["rating"] > 3.6).all() and (frame["choice"] == 5).all()  # agreed, whatever is asked
    positive = mean(frame[frame["key"] > 0], "keyed", "trait")
    assert (positive > 3.6).all()  # the careless inventory, without reversed items: warm at every level
    balanced = mean(frame, "keyed", "trait")
    assert balanced[0] == pytest.approx(3.0, abs=0.02)
    assert balanced[-1] < 2.75 and balanced[1] > 3.25
    bias = mean(frame[frame["trait"] == 0], "rating", "key") - 3
    assert bias[1] == pytest.approx(bias[-1], abs=0.02) and bias.mean() > 1
    assert np.abs(mean(rated("selfreport"), "rating", "key") - 3).max() < 0.02


def test_position_bias_shows_in_the_other_order_and_cancels_over_both():
    frame = rated("selfreport-position")
    for order, first in ((1, 5), (-1, 1)):  # the careless reading, one order and the likeliest option
        assert (frame.loc[frame["order"] == order, "choice"] == first).all()
    forward, backward = (frame[frame["order"] == order] for order in (1, -1))
    assert forward["rating"].min() > 3.5 and backward["rating"].max() < 2.5
    gap = {name: float(np.ptp(mean(rated(name), "rating", "order"))) for name in NAMES}
    assert gap.pop("selfreport-position") > 1.5 and max(gap.values()) < 0.02
    averaged = mean(frame, "keyed", "trait")
    assert averaged[0] == pytest.approx(3.0, abs=0.02)
    assert averaged[-1] < 2.9 and averaged[1] > 3.1


@pytest.mark.parametrize(
    ("name", "whole", "likeliest"),
    [("selfreport", 1, 1), ("selfreport-acquiescent", 1, 0), ("selfreport-position", 1, 0)],
)
def test_ratings_recover_the_trait_where_the_likeliest_option_does_not(name, whole, likeliest):
    """Averaged over keys and orders, person by person (here: trait and persona)."""
    frame = rated(name)
    frame = frame.assign(chosen=np.where(frame["key"] > 0, frame["choice"], 6 - frame["choice"]))
    trait = mean(frame, "trait", "trait", "persona").round(9).to_numpy()
    keyed = mean(frame, "keyed", "trait", "persona").round(1).to_numpy()
    assert spearmanr(trait, keyed).statistic == pytest.approx(whole)
    chosen = mean(frame, "chosen", "trait", "persona").to_numpy()
    if likeliest:
        assert chosen[trait == 1].min() > chosen[trait == -1].max()
    else:
        assert np.ptp(chosen) == 0


def test_the_detached_report_follows_the_persona_and_the_act_the_trait():
    name = "selfreport-detached"
    keyed = mean(rated(name), "keyed", "persona", "trait").unstack("trait")
    assert np.ptp(keyed.to_numpy(), axis=1).max() < 0.04
    assert keyed.mean(axis=1).to_numpy() == pytest.approx([1.954, 4.046], abs=0.04)
    rows = made(name)[0].examples.where(ask="act")
    act = mean(rows.frame.assign(value=acted(name, rows)), "value", "persona", "trait").unstack("trait")
    assert act.to_numpy() == pytest.approx(np.array([[0.119, 0.5, 0.881]] * 2), abs=0.01)
    # The careless design: personas that go with the trait. Report and act then agree as if one knew of the other.
    together = [(keyed.loc[level, level], act.loc[level, level]) for level in (-1, 1)]
    assert together[1][0] - together[0][0] > 2 and together[1][1] - together[0][1] > 0.7
    apart = [(keyed.loc[-level, level], act.loc[-level, level]) for level in (-1, 1)]
    assert apart[1][0] - apart[0][0] < -2 and apart[1][1] - apart[0][1] > 0.7


@pytest.mark.parametrize("name", ["selfreport", "selfreport-detached"])
def test_steering_the_trait_moves_act_and_report_only_where_one_source_drives_both(name):
    organism, model = made(name)
    rows = {ask: organism.examples.where(ask=ask, trait=0) for ask in ("act", "rate")}
    key = rows["rate"].frame["key"].to_numpy()
    moved = {}
    for source in ("trait", "persona"):
        truth = organism.truth.direction(source)
        change = steering.Add(Direction.from_vector(truth.vector, truth.site, model=model), 1.0, unit="raw")
        act = acted(name, rows["act"], change) - acted(name, rows["act"])
        rating = answered(name, rows["rate"], change)[0] - answered(name, rows["rate"])[0]
        moved[source] = float(act.mean()), float((key * rating).mean())
    assert moved["trait"][0] == pytest.approx(0.381, abs=0.01) and moved["persona"][0] == pytest.approx(0, abs=0.01)
    reported = "trait" if name == "selfreport" else "persona"
    silent = "persona" if name == "selfreport" else "trait"
    assert moved[reported][1] > 0.7 and abs(moved[silent][1]) < 0.03


def test_the_order_is_read_from_the_prompt():
    organism, model = made("selfreport-position")
    row = organism.examples.where(ask="rate", order=1, trait=0).select([0])
    prompt = row.prompts[0]
    turned = prompt.replace(row.frame["options"].iloc[0], " ".join(list(SCALE)[::-1]))
    assert turned != prompt
    assert model.generate([prompt, turned]) == ["always", "never"]


@pytest.mark.parametrize(("part", "says"), [("ratings", "rating .* is"), ("report", "effect of 1.0 trait on always")])
def test_a_record_of_another_report_is_refused(part, says):
    organism, _ = made("selfreport-detached")
    other = made("selfreport")[0].truth.structure[part]
    truth = dataclasses.replace(organism.truth, structure={**organism.truth.structure, part: other})
    with pytest.raises(lens.ModelError, match=says):
        dataclasses.replace(organism, truth=truth).check()
