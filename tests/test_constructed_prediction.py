"""Prediction: what it does, what it says it would do, and where that comes from."""

import dataclasses

import numpy as np
import pytest
from built import made

import lens
import probes
import steering
from lens.organisms import constructed
from lens.organisms.constructed.prediction import LEFT, MEMBERS, RIGHT, key, plan
from probes.direction import Direction
from probes.metrics import auroc

NAMES = tuple(MEMBERS)
TABLES = ("prediction-table", "prediction-other")


def likelier(name, rows, options, *changes):
    """1 where the first option is the likelier, −1 where the second is."""
    table = steering.effects(made(name)[1], rows, steering.measures.option(*options), *changes, progress=False)
    assert table["coherence"].min() > 0.99
    return np.where(table["value"] > 0.5, 1, -1)


def does(name, rows, *changes):
    return likelier(name, rows, ("amber", "coral"), *changes)


def says(name, rows, *changes):
    asked = lens.Examples(rows.frame.assign(prompt=rows.frame["hypothetical"]))
    return likelier(name, asked, ("yes", "no"), *changes)


def moved_left(name):
    organism, model = made(name)
    truth = organism.truth.direction("left")
    return steering.Add(Direction.from_vector(truth.vector, truth.site, model=model), 2.0, unit="raw")


def asked(name, **where):
    """One question about each pair."""
    return lens.Examples(made(name)[0].examples.where(ask="act", **where).frame.drop_duplicates("pair"))


@pytest.mark.parametrize("name", NAMES)
def test_without_norms_every_number_is_exact(name):
    truth = constructed.build(name, seed=7, norm="none").truth
    assert (truth.rate_tolerance, truth.tolerance) == (1e-5, 2e-5)
    assert len(truth.structure["says"]) == 4


@pytest.mark.parametrize("name", NAMES)
def test_it_does_what_its_key_says(name):
    rows = asked(name)
    left, right = key(0, 1 if name == "prediction-other" else 0)
    wanted = [
        left[LEFT.index(one)] * right[RIGHT.index(other)]
        for one, other in (pair.split() for pair in rows.frame["pair"])
    ]
    assert (does(name, rows) == wanted).all()


def test_the_similar_model_shares_the_key_and_no_weights():
    first, other = made("prediction-shared")[0], made("prediction-similar")[0]
    assert (
        does("prediction-shared", asked("prediction-shared")) == does("prediction-similar", asked("prediction-shared"))
    ).all()
    for one in first.truth.directions:
        assert abs(float(one.tensor @ other.truth.direction(one.name).tensor)) < 0.5


@pytest.mark.parametrize(
    ("name", "known", "other"),
    [("prediction-shared", 1.0, 1.0), ("prediction-similar", 1.0, 1.0), ("prediction-table", 1.0, 0.5)],
)
def test_what_it_says_is_what_it_does_of_pairs_it_knows_and_of_others(name, known, other):
    for held, wanted in ((1, known), (0, other)):
        rows = asked(name, known=held)
        assert (says(name, rows) == does(name, rows)).mean() == wanted
        assert set(np.unique(does(name, rows), return_counts=True)[1]) == {len(rows) // 2}


def test_the_other_says_what_the_first_does_where_it_has_seen_that():
    first, seen, unseen = "prediction-shared", asked("prediction-other", known=1), asked("prediction-other", known=0)
    assert (says("prediction-other", seen) == does(first, seen)).all()
    assert (says("prediction-other", unseen) == 1).all()  # what it says to anything
    assert np.mean(does("prediction-other", seen) == does(first, seen)) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_no_word_tells_what_is_done_and_no_key_tells_of_the_other(seed):
    known = plan("prediction-other", seed).examples.where(ask="act").frame
    assert known.groupby("known").size().nunique() == 1
    for side in (0, 1):
        word = known["pair"].str.split().str[side]
        assert known.groupby([word, "known"])["chosen"].sum().abs().max() == 0
        assert known.groupby([word, "known"])["first"].sum().abs().max() == 0
    (left, right), (other, another) = key(seed), key(seed, 1)
    assert left.sum() == right.sum() == 0 and other.sum() == another.sum() == 0
    assert left @ other == 0 and right @ another == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_key_changes_what_it_says_only_where_it_works_that_out(name):
    rows = asked(name, known=1)
    change = moved_left(name)
    before, after = does(name, rows), does(name, rows, change)
    changed = before != after
    assert changed.mean() == 0.5 and (after == rows.frame["right"]).all()
    follows = says(name, rows, change)[changed]
    if name in TABLES:
        assert (follows == says(name, rows)[changed]).all()
    else:
        assert (follows == after[changed]).all()


@pytest.mark.parametrize(("name", "wanted"), [("prediction-shared", 1.0), ("prediction-table", 0.5)])
def test_at_the_hypothetical_prompt_only_the_shared_circuit_has_worked_it_out(name, wanted):
    """Read with the planted direction, of pairs that no table holds."""
    organism, model = made(name)
    truth = organism.truth.direction("chosen")
    rows = organism.examples.where(ask="vowel", known=0)
    acts = lens.collect(model, rows, sites=[truth.site], span="prompt[-1]", progress=False)
    score = Direction.from_vector(truth.vector, truth.site, model=model).project(acts[truth.site]).double().numpy()
    assert abs(float(auroc((rows.frame["chosen"] > 0).astype(int).to_numpy(), score)) - wanted) < 0.1


def test_a_probe_fitted_on_the_table_is_fooled_by_pairs_it_knows():
    organism, model = made("prediction-table")
    rows = organism.examples.where(ask="vowel")
    rows = lens.Examples(rows.frame.assign(label=(rows.frame["chosen"] > 0).astype(int)))
    acts = lens.collect(model, rows, sites=["resid_post.2"], span="prompt[-1]", progress=False)
    known = rows.frame["known"].to_numpy() == 1
    fitted = probes.fit(acts.select(known), "resid_post.2").direction
    for part, low, high in ((acts.select(known), 1.0, 1.0), (acts.select(~known), 0.3, 0.6)):
        value = float(auroc(part.labels, fitted.score_activations(part).double().numpy()))
        assert low <= value <= high


def test_a_record_that_says_the_table_knows_all_is_refused():
    organism, _ = made("prediction-table")
    wrong = {"says": [{**one, "right": 1.0} for one in organism.truth.structure["says"]]}
    with pytest.raises(lens.ModelError, match="share of other pairs of which it says what is done by itself is"):
        dataclasses.replace(organism, truth=dataclasses.replace(organism.truth, structure=wrong)).check()
