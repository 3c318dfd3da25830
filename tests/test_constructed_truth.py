"""Every constructed organism passes its own truth through the toolkit's own calls: collect, fit, effects, steering."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import lens
import probes
import steering
from lens.organisms import constructed
from probes.direction import Direction
from probes.metrics import auroc, p_value, permute_labels

# Effects of one organism that are steered here; `build` has held every one against the weights.
STEERED = 8


@pytest.fixture(scope="module", params=constructed.names())
def organism(request):
    return constructed.build(request.param)


@pytest.fixture(scope="module")
def model(organism):
    return lens.wrap(organism.hf, organism.tokenizer, name=organism.truth.name)


def rows_of(acts, examples):
    """The rows of `examples`, which say in `row` where they are in `acts`, with their labels."""
    kept = acts.select(examples.frame["row"].to_numpy(dtype=int))
    return dataclasses.replace(kept, examples=examples, source=dataclasses.replace(kept.source, data=examples.hash()))


def probability(model, examples, options, *changes):
    measure = steering.measures.option(*options)
    return steering.effects(model, examples, measure, *changes, progress=False)["value"].to_numpy()


def logit(p):
    return np.log(p / (1 - p))


def test_difference_of_means_finds_what_is_planted_and_only_that(organism, model):
    sites = sorted({truth.site for truth in organism.truth.directions})
    numbered = lens.Examples(organism.examples.frame.assign(row=range(len(organism.examples))))
    organism = dataclasses.replace(organism, examples=numbered)
    acts = lens.collect(model, numbered, sites=sites, span="prompt[-1]", progress=False)
    for truth in organism.truth.directions:
        examples = organism.labelled(truth.name)
        found = probes.fit(rows_of(acts, examples), truth.site).direction
        cosine = float(found.vector @ truth.tensor)
        assert cosine == pytest.approx(truth.cosine, abs=0.02), truth.name
        if truth.cosine == 1:
            assert cosine > 0.95
            assert found.difference == pytest.approx(abs(truth.spread), rel=0.05), truth.name
        train, test = examples.split(test=0.4, seed=0)
        learned = probes.fit(rows_of(acts, train), truth.site).direction
        score = learned.score_activations(rows_of(acts, test)).double().numpy()
        value = float(auroc(test.labels, score))
        null = np.array([auroc(permute_labels(test.labels, test.groups, seed), score) for seed in range(40)])
        if truth.decodable:
            assert value == 1 and p_value(null, value) < 0.05, truth.name
        else:
            assert 0.35 < value < 0.65 and p_value(null, value) > 0.05, truth.name


def test_behaviours_have_their_rates(organism, model):
    frame, rows = organism.examples.frame, []
    for behaviour in organism.truth.behaviours:
        keep = np.ones(len(frame), dtype=bool)
        for column, value in behaviour.where.items():
            keep &= (frame[column] == value).to_numpy()
        row = frame[keep].iloc[0].to_dict()
        options = (behaviour.positive, behaviour.negative)
        first, second = (row[option[1:-1]] if option.startswith("{") else option for option in options)
        rows.append(row | {"first": first, "second": second})
    p = probability(model, lens.Examples(pd.DataFrame(rows)), ("{first}", "{second}"))
    wanted = [one.rate for one in organism.truth.behaviours]
    assert p == pytest.approx(wanted, abs=organism.truth.rate_tolerance)


def test_adding_a_direction_changes_the_log_odds_by_gain_times_strength(organism, model):
    effects = organism.truth.effects
    for effect in effects[:: max(1, len(effects) // STEERED)]:
        truth = organism.truth.direction(effect.direction)
        direction = Direction.from_vector(truth.vector, truth.site, model=model)
        rows = (organism.examples.where(**effect.where) if effect.where else organism.examples).select([0, 0])
        strengths = np.array([effect.low, effect.high])
        options = (effect.positive, effect.negative)
        change = steering.Add(direction, strengths, unit="raw")
        moved = logit(probability(model, rows, options, change)) - logit(probability(model, rows, options))
        wanted = effect.gain * strengths
        assert (np.abs(moved - wanted) <= organism.truth.tolerance * np.maximum(1, np.abs(wanted))).all(), effect
