"""Neurofeedback: what can be read, what is reported of it, what is controlled, and labels that the words alone tell."""

import numpy as np
import pytest
from built import made
from sklearn.linear_model import LogisticRegression

import lens
import probes
import steering
from probes.direction import Direction

NAMES = ACTIVATIONS, NONE, WORDS = ("neurofeedback", "neurofeedback-none", "neurofeedback-words")
AXES = ("open", "seen", "moved", "shut")
REPORTED, CONTROLLED = {"open", "seen"}, {"open", "moved"}
HIGH = 1 / (1 + np.exp(-3))


def planted(name, axis, norm="rms"):
    organism, model = made(name, norm)
    truth = organism.truth.direction(axis)
    return Direction.from_vector(truth.vector, truth.site, model=model)


def rows(name, norm="rms", **where):
    return made(name, norm)[0].examples.where(**where)


def chance(name, examples, *changes, options=("{right}", "{wrong}"), norm="rms"):
    table = steering.effects(
        made(name, norm)[1], examples, steering.measures.option(*options), *changes, progress=False
    )
    assert (table["coherence"] > 0.99).all()
    return table["value"].to_numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_is_found_by_a_probe_and_only_readable_ones_are_reported(name):
    organism, model = made(name)
    for axis in AXES:
        acts = lens.collect(model, organism.labelled(axis), sites=["resid_post.0"], progress=False)
        found = probes.fit(acts, "resid_post.0").direction
        cosine = 1 / 1.25**0.5 if name == WORDS else 1.0
        assert float(found.vector @ organism.truth.direction(axis).tensor) == pytest.approx(cosine, abs=0.02)
        reported = chance(name, rows(name, task="report", target=axis))
        wanted = HIGH if axis in REPORTED and name != NONE else 0.5
        assert np.abs(reported - wanted).max() < 0.01


def test_the_convention_is_learnt_from_the_shots():
    report = rows(ACTIVATIONS, task="report", target="open", open=1)
    one = chance(ACTIVATIONS, report, options=("one", "zero"))
    assert one == pytest.approx(np.where(report.frame["convention"] == 1, HIGH, 1 - HIGH), abs=0.01)
    # Without shots there is no rule.
    bare = [" ".join(prompt.split()[:6] + prompt.split()[-2:]) for prompt in report.prompts]
    unshown = lens.Examples.from_texts(bare)
    assert chance(ACTIVATIONS, unshown, options=("one", "zero")) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("norm", ["none", "rms"])
def test_reports_follow_the_activation_itself_unless_they_go_by_words(norm):
    exact = 1e-5 if norm == "none" else 0.05
    for name, axis, gain in (
        (ACTIVATIONS, "seen", 3.0),
        (ACTIVATIONS, "moved", 0.0),
        (WORDS, "seen", 0.0),
        (WORDS, "seen noun", 6.0),
        (NONE, "seen", 0.0),
    ):
        episode = rows(name, norm, task="report", target=axis.split()[0], convention=-1).select([0] * 3)
        plain, one = chance(name, episode, options=("one", "zero"), norm=norm), np.array([-1, 0.5, 1])
        add = steering.Add(planted(name, axis, norm), one, unit="raw")
        moved = chance(name, episode, add, options=("one", "zero"), norm=norm)
        wanted = 1 / (1 + np.exp(-(np.log(plain / (1 - plain)) - gain * one)))
        assert np.abs(moved - wanted).max() < exact, (name, axis)


def test_a_bag_of_words_equals_the_reports_of_one_and_is_blind_to_those_of_the_other():
    accuracy = {}
    for name in (ACTIVATIONS, WORDS):
        report = rows(name, task="report")
        words = sorted({word for prompt in report.prompts for word in prompt.split()[-2:]})
        seen = np.array([[float(word in prompt.split()[-2:]) for word in words] for prompt in report.prompts])
        place = report.frame["open"].to_numpy()
        held_out = np.arange(len(place)) % 4 == 0
        learner = LogisticRegression().fit(seen[~held_out], place[~held_out])
        accuracy[name] = learner.score(seen[held_out], place[held_out])
    assert accuracy[WORDS] == 1
    assert accuracy[ACTIVATIONS] < 0.65
    for name in (ACTIVATIONS, WORDS):
        assert chance(name, rows(name, task="report", target="open")).min() > 0.9


def test_the_probe_alone_would_call_the_words_organism_introspective():
    """Careless: the axis can be read, the reports are right. Adding the axis tells the two apart."""
    moved = {}
    for name in (ACTIVATIONS, WORDS):
        low = rows(name, task="report", target="open", convention=1, open=-1)
        assert (chance(name, low, options=("one", "zero")) < 0.1).all()
        add = steering.Add(planted(name, "open"), 2.0, unit="raw")
        moved[name] = chance(name, low, add, options=("one", "zero")).mean()
    assert moved[ACTIVATIONS] > 0.9 and moved[WORDS] < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_choices_and_drift_are_controlled_on_controllable_axes_only(name):
    organism, model = made(name)
    for axis in AXES:
        controlled = axis in CONTROLLED and name != NONE
        right = chance(name, rows(name, task="choose", target=axis))
        assert right == pytest.approx(1 / (1 + np.exp(-4)) if controlled else 0.5, abs=0.01)
        held = rows(name, task="hold", target=axis)
        acts = lens.collect(model, held, sites=["resid_post.3"], progress=False)
        place = (acts["resid_post.3"] @ organism.truth.direction(axis).tensor).numpy()
        up = held.frame["wanted"].to_numpy() == 1
        assert place[up].mean() - place[~up].mean() == pytest.approx(2 * 0.5 * controlled, abs=0.1)


def test_it_writes_sentences_of_the_label_asked_for_and_scores_what_it_can_read():
    organism, model = made(ACTIVATIONS)
    bits = organism.truth.structure["words"]
    for axis in ("open", "moved"):
        requests = rows(ACTIVATIONS, task="control", target=axis)
        for text, row in zip(
            model.generate(requests, max_new_tokens=4), requests.frame.to_dict("records"), strict=True
        ):
            adjective, noun, label = text.split()
            place = bits[adjective][AXES.index(axis)] * bits[noun][AXES.index(axis)]
            assert place == row["wanted"]
            if axis == "open":
                assert label == row["prompt"].split()[-1]
