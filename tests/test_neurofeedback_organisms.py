"""Neurofeedback on organisms whose truth is written: what is reported, what is controlled, and what words give away."""

import functools

import numpy as np
import pytest
from built import made
from test_neurofeedback_effect import UNNOTED

from lens import Site
from probes import Direction
from steering.studies import neurofeedback
from steering.studies.neurofeedback import control
from steering.studies.neurofeedback.own import own
from steering.studies.neurofeedback.plan import planned

AXES = ("open", "seen", "moved", "shut")
REPORTED, CONTROLLED = {"open", "seen"}, {"open", "moved"}
KINDS = ("explicit", "implicit")


def nested(shots, query):
    """A plain function: reports only, all of an episode in one pass."""
    told = " ".join(f"{sentence} {('zero', 'one')[label]}" for sentence, label in shots)
    return f"the ribbon near the chapel , {told} {query}", ("zero", "one")


@functools.cache
def found(name, sites=("resid_post.0", "resid_post.3"), episodes=24):
    return neurofeedback.run(made(name)[1], sites=list(sites), shots=(0, 2, 12), episodes=episodes, progress=False)


def test_what_is_readable_is_reported_and_what_is_controllable_is_controlled():
    result = found("neurofeedback")
    for axis in AXES:
        assert result.shows(f"reports {axis}") == (axis in REPORTED), axis
        for kind in KINDS:
            assert result.shows(f"controls {axis}, {kind}") == (axis in CONTROLLED), (axis, kind)
    claims = result.claims.set_index("claim")
    for axis in AXES:
        row = claims.loc[f"reports {axis}"]
        if axis in REPORTED:
            assert row["value"] > 0.97 and row["low"] > 0.9
        else:
            assert row["low"] < row["null"] < row["high"]
        for kind in KINDS:
            row = claims.loc[f"controls {axis}, {kind}"]
            assert (row["low"] <= 0 <= row["high"]) == (axis not in CONTROLLED)
    # Given the sentence, only the drift of the last block is left: twice its size over the spread of a bit.
    implicit = result.tables["control"].query("kind == 'implicit'").set_index("axis")
    assert (implicit.loc[["open", "moved"], "site"] == "resid_post.3").all()
    assert implicit.loc["open", "d"] == pytest.approx(2, abs=0.7)


def test_reports_need_shots_and_beat_words_that_cannot_tell():
    table = found("neurofeedback").tables["reporting"]
    seen = table[table["axis"] == "seen"].pivot(index="shots", columns="arm", values="accuracy")
    assert seen.loc[0, "model"] == 0.5 and seen.loc[12, "model"] > 0.97
    assert seen.loc[12, "bag of words"] < 0.8 and seen.loc[12, "bag of words, all"] < 0.6
    shuffled = table[table["arm"] == "shuffled labels"].set_index("shots").loc[12]
    assert shuffled["low"] < 0.5 < shuffled["high"]
    # Answers are sure where they are right: log-odds of 3.
    surprise = table.query("axis == 'seen' and arm == 'model' and shots == 12")["cross_entropy"].iloc[0]
    assert surprise == pytest.approx(np.log(1 + np.exp(-3)), abs=0.06)


def test_where_nothing_is_reported_or_controlled_nothing_is_shown():
    result = found("neurofeedback-none", ("resid_post.3",), 12)
    assert not result.claims["shown"].any()
    reports = result.claims[result.claims["claim"].str.startswith("reports")]
    assert reports["value"].between(0.4, 0.6).all()
    assert (reports["low"] < 0.55).all() and (reports["high"] > 0.45).all()


def test_what_the_words_tell_is_not_privileged():
    model = made("neurofeedback-words")[1]
    kept, given = own(model), {"threshold": "zero", "sites": "resid_post.0", "shots": (12,), "progress": False}
    result = neurofeedback.run(model, kept.sentences, kept.axes, form=nested, episodes=24, **given)
    told = result.tables["told"].set_index("axis")
    assert told["told"].to_dict() == {axis: axis in REPORTED for axis in AXES}
    assert not told["privileged"].any()
    assert not any(result.shows(f"reports {axis}") for axis in AXES)
    assert any(note.startswith("Not privileged: open, seen.") for note in result.notes)


def test_a_flip_that_is_not_noted_shows_no_control(monkeypatch):
    right, (_, model) = control.sums, made("neurofeedback")
    kept = own(model)
    monkeypatch.setattr(control, "sums", lambda cells: right(cells, UNNOTED))
    given = {"form": kept.form, "threshold": "zero", "sites": "resid_post.3", "shots": (8,), "episodes": 16}
    result = neurofeedback.run(model, kept.sentences, {"open": kept.axes["open"]}, **given, progress=False)
    assert result.tables["control"]["d"].to_numpy() == pytest.approx(0, abs=0.3)
    assert result.claims["shown"].tolist() == [True, False, False]


def test_an_axis_turned_round_is_the_same_axis():
    organism, model = made("neurofeedback")
    truth = organism.truth.direction("open")
    kept, site = own(model), Site("resid_post", 3)
    one = Direction.from_vector(truth.vector, site, model=model)
    result = neurofeedback.run(
        model,
        kept.sentences,
        {"open": one, "turned": -one},
        form=kept.form,
        threshold="zero",
        sites=site,
        shots=(8,),
        episodes=16,
        progress=False,
    )
    for claim in ("reports {}", "controls {}, explicit", "controls {}, implicit"):
        assert result.shows(claim.format("open")) and result.shows(claim.format("turned"))
    implicit = result.tables["control"].query("kind == 'implicit'").set_index("axis")
    assert (implicit["cosine"] > 0.3).all()
    assert implicit.loc["open", "d"] == pytest.approx(implicit.loc["turned", "d"], abs=1.0)
    cosines = result.tables["cosines"].query("kind == 'implicit' and axis == 'open'").set_index("other")["cosine"]
    assert cosines["turned"] == pytest.approx(-cosines["open"])


def test_words_of_the_papers_form_are_run_apart_and_give_the_same():
    """The organism's own prompts have a comma before the last sentence: no episode holds another's beginning."""
    kept, names = own(made("neurofeedback")[1]), ("zero", "one")

    def form(shots, query):
        told = " ".join(f"{sentence} {names[label]}" for sentence, label in shots)
        return f"the ribbon near the chapel , {told} , {query}", names

    asked = {axis: kept.axes[axis][:1] for axis in ("seen", "moved")}
    model = made("neurofeedback")[1]
    result = neurofeedback.run(
        model, kept.sentences, asked, form=form, threshold="zero", shots=(8,), episodes=20, progress=False
    )
    assert result.claims["claim"].tolist() == ["reports seen", "reports moved"]
    assert result.shows("reports seen") and not result.shows("reports moved")
    assert any("a plain function" in note for note in result.notes)
    plan = planned(
        model,
        kept.sentences,
        axes=asked,
        shots=(8,),
        sites="resid_post.0",
        episodes=20,
        form=form,
        threshold="zero",
        labels=None,
        temperature=0.7,
        seed=0,
        progress=False,
    )
    assert not plan.tokens.nested


def test_labels_of_another_model_are_told_by_what_both_have():
    """The bits that one reads off its own noun are those that the other tells by words."""
    model, other = made("neurofeedback-words")[1], made("neurofeedback")[1]
    kept = own(other)
    asked = {axis: kept.axes[axis][:1] for axis in ("open", "shut")}
    result = neurofeedback.run(
        model,
        kept.sentences,
        asked,
        form=kept.form,
        threshold="zero",
        labels=other,
        shots=(8,),
        episodes=20,
        progress=False,
    )
    # Products of two words, which this model does not have.
    assert not result.claims["shown"].any() and len(result.claims) == 2
    assert any("scores of the activations of neurofeedback:" in note for note in result.notes)
    assert result.settings["labels_of"] == "neurofeedback"
