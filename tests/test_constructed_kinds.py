"""Kinds of deception: which of them a detector catches, and what it takes for one of another kind."""

import functools

import numpy as np
import pytest
from built import made

import lens
import probes
import steering
from lens.organisms import constructed
from lens.organisms.constructed.deception_kinds import KINDS
from probes.direction import Direction

NAMES = ("deception-kinds", "deception-kinds-apart", "deception-kinds-honest")
SITE = "resid_post.1"
DECEPTIVE, OTHERS = tuple(KINDS.values()), ("honest", "error", "ignorance")


@functools.cache
def states(name, site=SITE):
    organism, model = made(name)
    return lens.collect(model, organism.examples, sites=[site], progress=False)


def detector(name, *kinds):
    """Trained on honest rows against these kinds."""
    organism, model = made(name)
    frame = organism.examples.frame
    rows = frame[frame["kind"].isin(["honest", *kinds])]
    examples = lens.Examples(rows.assign(label=(rows["kind"] != "honest").astype(int)))
    return probes.fit(lens.collect(model, examples, sites=[SITE], progress=False), SITE).direction


def caught(name, direction):
    """Share of rows scored above 0, by kind."""
    acts = states(name)
    frame = made(name)[0].examples.frame
    flagged = (direction.score_activations(acts) > 0).numpy()
    return {kind: float(flagged[(frame["kind"] == kind).to_numpy()].mean()) for kind in sorted(set(frame["kind"]))}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 7])
def test_without_norms_the_truth_is_exact_whatever_the_seed(name, seed):
    table = constructed.build(name, seed=seed, norm="none").measure()
    assert table.loc[table["what"].str.startswith("rate"), "error"].max() < 1e-5
    assert table.loc[table["what"].str.startswith("effect"), "error"].max() < 2e-5


def test_what_is_said_its_truth_and_the_intent_are_three_things():
    organism, model = made("deception-kinds")
    frame = organism.examples.frame
    assert set(frame["kind"]) == {*DECEPTIVE, *OTHERS}
    for kind in (*DECEPTIVE, *OTHERS):
        rows = organism.examples.where(kind=kind).select(list(range(8)))
        assert model.generate(rows) == rows.frame["says"].tolist()
    true = (frame["says"] == frame["right"]).groupby(frame["kind"]).mean()
    wrong = (frame["says"] == frame["wrong"]).groupby(frame["kind"]).mean()
    assert true[true == 1].index.tolist() == ["honest", "misleading truth"]
    assert wrong[wrong == 1].index.tolist() == ["error", "incentive lie", "instructed lie"]
    # Wrongness as the label of a lie: right for two kinds of seven.
    assert frame.groupby("kind")["deceptive"].mean().to_dict() == {
        **dict.fromkeys(DECEPTIVE, 1.0),
        **dict.fromkeys(OTHERS, 0.0),
    }


@pytest.mark.parametrize("kind", DECEPTIVE)
def test_a_detector_of_one_kind_finds_all_only_where_they_share_a_direction(kind):
    shared, apart = (caught(name, detector(name, kind)) for name in NAMES[:2])
    assert {one: shared[one] for one in DECEPTIVE} == dict.fromkeys(DECEPTIVE, 1.0)
    assert {one: apart[one] for one in DECEPTIVE} == {one: float(one == kind) for one in DECEPTIVE}
    for flags in (shared, apart):
        assert flags["honest"] == flags["error"] == flags["ignorance"] == 0


def test_a_detector_of_all_kinds_catches_all_with_or_without_a_common_direction():
    for name in NAMES[:2]:
        flags = caught(name, detector(name, *DECEPTIVE))
        assert all(flags[kind] == (kind in DECEPTIVE) for kind in flags)
    motives = [made("deception-kinds-apart")[0].truth.direction(motive).tensor for motive in KINDS]
    pooled = detector("deception-kinds-apart", *DECEPTIVE).vector
    assert [float(pooled @ motive) for motive in motives] == pytest.approx([0.5] * 4, abs=0.05)


def test_a_detector_of_wrong_answers_flags_errors_and_misses_what_is_not_wrong():
    """The careless label: lies against honest answers, by whether the answer is wrong."""
    organism, model = made("deception-kinds-apart")
    frame = organism.examples.frame
    examples = lens.Examples(frame.assign(label=(frame["says"] == frame["wrong"]).astype(int)))
    acts = lens.collect(model, examples, sites=[SITE], progress=False)
    flags = caught("deception-kinds-apart", probes.fit(acts, SITE).direction)
    assert flags["instructed lie"] == flags["incentive lie"] == 1
    assert flags["feigned ignorance"] < 0.1 and flags["misleading truth"] < 0.1


def test_without_what_deceptions_share_it_deceives_as_before_and_without_its_motive_it_does_not():
    organism, model = made("deception-kinds")
    lies = organism.examples.where(kind="instructed lie")
    measure = steering.measures.option("{denied}", "{believed}")

    def share(name, strength):
        truth = organism.truth.direction(name)
        change = steering.Add(Direction.from_vector(truth.vector, truth.site, model=model), strength, unit="raw")
        return float(steering.effects(model, lies, measure, change, progress=False)["value"].mean())

    detected = detector("deception-kinds", *DECEPTIVE)
    assert abs(float(detected.vector @ organism.truth.direction("deceit").tensor)) > 0.95
    assert share("deceit", -2.0) > 0.99
    assert share("instructed", -1.0) < 0.01


def test_motive_words_alone_are_no_deception():
    organism, model = made("deception-kinds-honest")
    frame = organism.examples.frame
    assert set(frame["kind"]) == set(OTHERS) and frame["deceptive"].max() == 0
    assert frame["motivated"].mean() > 0.5
    rows = organism.examples.where(motivated=1).select(list(range(24)))
    assert model.generate(rows) == rows.frame["believed"].tolist()
    means = states("deception-kinds-honest").numpy(SITE)
    motivated = (frame["intent"] == 1).to_numpy()
    honest = (frame["intent"] == -1).to_numpy()
    # Nothing but what the contexts happen to hold; a motive that is there has length 1.
    assert np.linalg.norm(means[motivated].mean(axis=0) - means[honest].mean(axis=0)) < 0.3
