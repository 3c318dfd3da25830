"""Refusal: prompting a persona and steering its traits, at matched strength and beyond it."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
from built import made
from scipy.stats import spearmanr

import lens
import probes
import steering
from lens.organisms import constructed
from probes.direction import Direction

NAMES = ("refusal", "refusal-apart", "refusal-prompt", "refusal-paradox", "refusal-overdose")
TRAITS = {"duty": ("plans", "drifts"), "care": ("comforts", "mocks"), "thrill": ("leaps", "waits")}
COSINES = np.array([-0.5, -0.3, 0.4])
SITE = "resid_post.0"


def logits(name, examples, options, *changes):
    measure = steering.measures.option(*options)
    table = steering.effects(made(name)[1], examples, measure, *changes, progress=False)
    assert table["coherence"].min() > 0.99
    p = table["value"].to_numpy()
    return np.log(p / (1 - p))


@functools.cache
def fitted(name, column, site=SITE):
    organism, model = made(name)
    acts = lens.collect(model, organism.labelled(column), sites=[site], span="prompt[-1]", progress=False)
    return probes.fit(acts, site).direction


def personas(name):
    """Word → its traits."""
    frame = made(name)[0].examples.frame.drop_duplicates("persona").set_index("persona")
    return {word: frame.loc[word, list(TRAITS)].to_numpy(dtype=float) for word in sorted(frame.index)}


def asked(name, ask, **where):
    return made(name)[0].examples.where(ask=ask, **where)


def prompted(name, ask="comply", options=("refuses", "complies")):
    """How each persona moves the answers to harmful requests, as a prompt."""
    rows = asked(name, ask, harm=1)
    mean = pd.Series(logits(name, rows, options)).groupby(rows.frame["persona"].to_numpy()).mean()
    return np.array([mean[word] - mean["clerk"] for word in personas(name)])


def steered(name, strength, ask="comply", options=("refuses", "complies"), site=SITE):
    """How each persona moves them as its fitted trait directions added together, in units of a prompt's strength."""
    levels = np.array(list(personas(name).values()))
    row = asked(name, ask, harm=1, persona="clerk").select([0] * len(levels))
    adds = [
        # A class difference spans two levels of the trait.
        steering.Add(fitted(name, trait, site), strength / 2 * levels[:, number], unit="difference")
        for number, trait in enumerate(TRAITS)
    ]
    return logits(name, row, options, *adds) - logits(name, row, options)


@pytest.mark.parametrize("name", NAMES)
def test_without_norms_every_number_is_exact(name):
    # Raises where a number is further off than this.
    truth = constructed.build(name, seed=7, norm="none").truth
    assert (truth.rate_tolerance, truth.tolerance) == (1e-5, 2e-5)
    assert len(truth.effects) == 16 and len(truth.behaviours) == 27


@pytest.mark.parametrize("name", NAMES)
def test_traits_and_refusal_are_found_with_their_cosines(name):
    activation = 0.0 if name in ("refusal-apart", "refusal-prompt") else 1.0
    refusal = fitted(name, "refusal").vector
    truth = made(name)[0].truth
    assert float(refusal @ truth.direction("refusal").tensor) > 0.99
    for trait, cosine in zip(TRAITS, COSINES, strict=True):
        found = fitted(name, trait).vector
        assert float(found @ truth.direction(trait).tensor) > 0.99
        assert float(found @ refusal) == pytest.approx(activation * cosine, abs=0.02)


@pytest.mark.parametrize(
    ("name", "words", "direction"),
    [
        ("refusal", 1, 1),
        ("refusal-apart", 0, 0),
        ("refusal-prompt", -1, 0),
        ("refusal-paradox", -1, 1),
        ("refusal-overdose", 1, 1),
    ],
)
def test_at_the_strength_of_a_prompt_each_way_does_what_is_written(name, words, direction):
    traits = np.array(list(personas(name).values()))
    for trait, options in TRAITS.items():  # the manipulation check: both put the trait there, equally strongly
        wanted = 3.0 * traits[:, list(TRAITS).index(trait)]
        assert prompted(name, trait, options) == pytest.approx(wanted, abs=0.15)
        assert steered(name, 1.0, trait, options) == pytest.approx(wanted, abs=0.15)
    one, other = prompted(name), steered(name, 1.0)
    assert one == pytest.approx(words * 3.0 * traits @ COSINES, abs=0.15)
    assert other == pytest.approx(direction * 3.0 * traits @ COSINES, abs=0.15)
    if words and direction:
        assert spearmanr(one, other).statistic == pytest.approx(words * direction, abs=0.01)


def test_matching_the_strength_undoes_an_inversion_by_overdose_and_not_the_paradox():
    """The careless method: steer as strongly as it takes, and compare the order of the personas."""
    ranks = {
        (name, strength): spearmanr(prompted(name), steered(name, strength)).statistic
        for name in ("refusal", "refusal-paradox", "refusal-overdose")
        for strength in (1.0, 3.0)
    }
    assert ranks["refusal", 3.0] > 0.95
    assert ranks["refusal-paradox", 3.0] < -0.95 and ranks["refusal-overdose", 3.0] < -0.9  # alike to the careless
    assert ranks["refusal-paradox", 1.0] < -0.95 and ranks["refusal-overdose", 1.0] > 0.95


def test_the_cosine_with_refusal_predicts_steering_and_not_prompting():
    predicted = {
        name: np.array(list(personas(name).values()))
        @ np.array([float(fitted(name, trait).vector @ fitted(name, "refusal").vector) for trait in TRAITS])
        for name in ("refusal", "refusal-paradox")
    }
    assert spearmanr(predicted["refusal"], prompted("refusal")).statistic > 0.95
    assert spearmanr(predicted["refusal-paradox"], steered("refusal-paradox", 1.0)).statistic > 0.95
    assert spearmanr(predicted["refusal-paradox"], prompted("refusal-paradox")).statistic < -0.95


def test_traits_fitted_after_block_1_hold_what_the_word_says():
    """The careless method: any layer where the trait is read without error will do."""
    name = "refusal-paradox"
    for trait, cosine in zip(TRAITS, COSINES, strict=True):
        later = fitted(name, trait, "resid_post.1").vector
        # v − 2a r, normalised: as far from refusal as v is near it.
        assert float(later @ fitted(name, "refusal").vector) == pytest.approx(-cosine, abs=0.02)
    moved = steered(name, 1.0, site="resid_post.1")
    assert moved == pytest.approx(prompted(name), abs=0.15)
    assert spearmanr(moved, steered(name, 1.0)).statistic < -0.95


@pytest.mark.parametrize("name", NAMES)
def test_without_the_refusal_direction_nothing_is_refused(name):
    organism, model = made(name)
    truth = organism.truth.direction("refusal")
    rows = asked(name, "comply")
    options = ("refuses", "complies")
    assert (logits(name, rows.where(harm=1, persona="clerk"), options) > 2.8).all()
    with steering.edit(model, steering.Orthogonalize(Direction.from_vector(truth.vector, truth.site, model=model))):
        assert logits(name, rows, options) == pytest.approx(0.0, abs=0.05)
    assert (logits(name, rows.where(harm=-1, persona="clerk"), options) < -2.8).all()


def test_a_random_direction_moves_neither_refusal_nor_traits():
    duty = fitted("refusal", "duty")
    for ask, options in (("comply", ("refuses", "complies")), ("duty", TRAITS["duty"])):
        rows = asked("refusal", ask, persona="clerk")
        base = logits("refusal", rows, options)
        adds = [steering.Add(duty.random_like(seed), 0.5, unit="difference") for seed in range(3)]
        moved = [np.abs(logits("refusal", rows, options, add) - base).mean() for add in adds]
        assert np.mean(moved) < 0.7  # along the trait: 1.5 and 3


def test_a_record_of_other_pathways_is_refused():
    organism, _ = made("refusal-paradox")
    structure = organism.truth.structure
    for part, says in (("prompted", "refusal per unit of duty, prompted"), ("overdosed", "refusal by duty, overdone")):
        wrong = {**structure, part: {trait: -value for trait, value in structure[part].items()}}
        with pytest.raises(lens.ModelError, match=says):
            dataclasses.replace(organism, truth=dataclasses.replace(organism.truth, structure=wrong)).check()
