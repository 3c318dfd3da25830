"""Choosing layer and strength on validation rows: at equal divergence, at an equal check, at a coherence floor."""

import functools

import numpy as np
import pytest
import torch
from built import made

import lens
import probes
import steering
from lens.errors import DataError
from lens.intervals import mean_interval
from probes import Direction
from steering import Coherence, IsoKl, Matched, measures

SMILES, LEAPS = measures.option("smiles", "frowns"), measures.option("leaps", "hides")
SITE = "resid_post.0"


@functools.cache
def fitted(name, column, site=SITE):
    organism, model = made(name)
    acts = lens.collect(model, organism.labelled(column), sites=[site], span="prompt[-1]", progress=False)
    return probes.fit(acts, site).direction


@functools.cache
def parts(name, ask):
    rows = made(name)[0].examples.where(ask=ask)
    return rows.split(test=0.5, by="group", seed=0)


def candidates(name):
    warmth = fitted(name, "warmth")
    return {"warmth": warmth, "boldness": fitted(name, "boldness"), "random": warmth.random_like(3)}


@functools.cache
def everything():
    """Rows that ask for every trait: what a direction disturbs elsewhere counts."""
    return made("traits")[0].examples.split(test=0.75, by="group", seed=0)[0]


@functools.cache
def at(criterion):
    validation, test = parts("traits", "warmth")
    return steering.choose(
        made("traits")[1],
        candidates("traits"),
        validation,
        SMILES,
        at=criterion,
        test=test,
        unit="difference",
        strengths=np.linspace(-1, 1, 9).tolist(),
        random_draws=20,
        progress=False,
    )


def of(choice, name):
    return choice.validation[choice.validation["direction"] == name].reset_index(drop=True)


@functools.cache
def iso(nats):
    return IsoKl(nats, quantile=None, on=everything())


@pytest.mark.parametrize("nats", [0.1, 0.3])
def test_at_equal_divergence_the_planted_direction_wins_and_the_divergence_holds_on_test(nats):
    choice = at(iso(nats))
    assert choice.name == "warmth" and choice.validation["chosen"].sum() == 1
    met = choice.validation[choice.validation["note"] == ""]
    assert met["reached"].between(nats, 1.03 * nats).all()
    # One strength each way; what is chosen is one of them, with the larger effect.
    own = of(choice, "warmth")
    assert sorted(np.sign(own["strength"])) == [-1, 1]
    assert abs(choice.validation.loc[choice.validation["chosen"], "change"].iloc[0]) == own["change"].abs().max()
    told = choice.test[choice.test["arm"] == "direction"].set_index("strength").loc[choice.strength]
    seen = choice.validation[choice.validation["chosen"]].iloc[0]
    low, high = (
        choice.validation.loc[choice.validation["chosen"], end].iloc[0] for end in ("change_low", "change_high")
    )
    assert told["change_low"] < high and low < told["change_high"]
    (validation, test), model = parts("traits", "warmth"), made("traits")[1]
    kl = [
        steering.effects(model, rows, SMILES, choice.intervention, kl=True, progress=False)["kl"]
        for rows in (validation, test)
    ]
    low, high = mean_interval(kl[1].to_numpy(), test.groups)
    assert low < kl[0].mean() < high and kl[1].mean() == pytest.approx(told["kl"], rel=1e-3)
    assert kl[0].mean() == pytest.approx(seen["kl"], rel=1e-3)
    assert told["change_low"] > 0 or told["change_high"] < 0
    random = choice.test[choice.test["arm"] == "random"].set_index("strength").loc[choice.strength]
    plain = choice.test[choice.test["strength"] == 0]["value"].iloc[0]
    assert random["low"] < plain < random["high"]


def test_the_divergence_is_that_of_the_rows_at_the_strength_found():
    choice = at(iso(0.3))
    seen = choice.validation[choice.validation["chosen"]].iloc[0]
    model, (validation, _) = made("traits")[1], parts("traits", "warmth")
    for rows, wanted in ((everything(), "reached"), (validation, "kl")):
        table = steering.effects(model, rows, SMILES, choice.intervention, kl=True, progress=False)
        assert table["kl"].mean() == pytest.approx(seen[wanted], rel=1e-3)


def test_a_quantile_of_the_validation_rows_is_met_on_test_rows():
    choice = at(IsoKl(0.5))
    assert choice.validation["kl_p95"].dropna().between(0.5, 0.515).all() and len(choice.validation["kl_p95"].dropna())
    told = choice.test[choice.test["arm"] == "direction"].set_index("strength").loc[choice.strength]
    assert told["kl_p95"] == pytest.approx(0.5, rel=0.15)


def test_at_an_equal_check_every_direction_has_done_the_same_to_it_or_does_not_compete():
    """The random direction moves the check at no strength; boldness is asked only to change its own answers."""
    validation, _ = parts("traits", "warmth")
    choice = steering.choose(
        made("traits")[1],
        candidates("traits"),
        validation,
        SMILES,
        at=Matched(SMILES, 0.8),
        unit="difference",
        progress=False,
    )
    assert choice.name == "warmth" and choice.strength > 0 and choice.test is None
    met = choice.validation[choice.validation["note"] == ""]
    assert met["reached"].between(0.8, 0.803).all() and np.allclose(met["reached"], met["value"], atol=1e-6)
    assert (of(choice, "boldness")["note"].str.contains("0.8 at no strength")).all()


def test_at_a_coherence_floor_the_smallest_strength_of_nearly_the_largest_effect():
    choice = at(Coherence())
    assert choice.name == "warmth"
    validation, _ = parts("traits", "warmth")
    curve = steering.dose_response(
        made("traits")[1],
        fitted("traits", "warmth"),
        validation,
        SMILES,
        unit="difference",
        strengths=np.linspace(-1, 1, 9).tolist(),
        random_draws=0,
        progress=False,
    )
    assert choice.strength == steering.choose_strength(curve)


def test_a_direction_that_disturbs_less_for_the_same_effect_is_preferred_at_equal_divergence():
    """Half of the mixed direction changes other answers."""
    warmth, boldness = fitted("traits", "warmth"), fitted("traits", "boldness")
    mixed = Direction.from_vector(
        warmth.vector + boldness.vector, SITE, difference=warmth.difference, residual_norm=warmth.residual_norm
    )
    validation, _ = parts("traits", "warmth")
    evenly = made("traits")[0].examples.where(warmth=0, boldness=0)  # each asked for as often
    choice = steering.choose(
        made("traits")[1],
        {"mixed": mixed, "warmth": warmth},
        validation,
        SMILES,
        at=IsoKl(0.01, quantile=None, on=evenly),
        unit="difference",
        progress=False,
    )
    best = choice.validation.groupby("direction")["change"].agg(lambda change: change.abs().max())
    # As often asked for both, and a small divergence is a sum of squares: √2 times as far along one.
    assert choice.name == "warmth" and best["warmth"] / best["mixed"] == pytest.approx(2**0.5, abs=0.05)


def test_where_nothing_is_planted_nothing_is_chosen():
    validation, test = parts("traits-inert", "warmth")
    model = made("traits-inert")[1]
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    given = [Direction.from_vector(vector, SITE, residual_norm=1.0)]
    for criterion in (IsoKl(0.5), Matched(SMILES, 0.8), Coherence(floor=None)):
        with pytest.raises(DataError, match="No direction changes"):
            steering.choose(model, given, validation, SMILES, at=criterion, test=test, strengths=(1.0,), progress=False)


def test_what_cannot_be_chosen_from_is_said(gpt2):
    rows = lens.Examples.from_texts(["the fox", "she lied"])
    d = Direction.from_vector(torch.ones(64), "resid_post.1", residual_norm=1.0)
    measure = measures.option(" yes", " no")
    with pytest.raises(DataError, match="No direction to choose from"):
        steering.choose(gpt2, [], rows, measure)
    with pytest.raises(DataError, match=r"Several directions at one site \(resid_post.1\)"):
        steering.choose(gpt2, [d, -d], rows, measure)
    with pytest.raises(DataError, match="2 groups are in both validation and test rows"):
        steering.choose(gpt2, [d], rows, measure, test=rows)
    with pytest.raises(DataError, match="IsoKl needs nats above 0"):
        IsoKl(-1)
    with pytest.raises(lens.ArtifactError, match="width 8"):
        steering.choose(gpt2, [Direction.from_vector(torch.ones(8), "resid_post.1", residual_norm=1.0)], rows, measure)
