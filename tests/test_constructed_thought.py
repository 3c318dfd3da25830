"""Injected thoughts: who notices, who names, who says yes to anything, and the careless scores that mix them up."""

import functools

import numpy as np
import pytest
from built import made

import lens
import probes
import steering
from probes.direction import Direction

DETECTOR, BLIND, PARROT, YES = NAMES = ("thought-detector", "thought-blind", "thought-parrot", "thought-yes")
STRONG = 2.75


@functools.cache
def concepts(name):
    return made(name)[0].truth.structure["concepts"]


@functools.cache
def concept_vector(name, concept, site="resid_post.1"):
    """Recipe of the experiments: activations where the word is spoken of, against other words."""
    organism, model = made(name)
    acts = lens.collect(model, organism.labelled(concept), sites=[site], progress=False)
    return probes.fit(acts, site).direction


def planted(name, direction, norm="rms"):
    organism, model = made(name, norm)
    truth = organism.truth.direction(direction)
    return Direction.from_vector(truth.vector, truth.site, model=model)


def said_yes(name, examples, *changes, norm="rms"):
    measure = steering.measures.option("yes", "no")
    return steering.effects(made(name, norm)[1], examples, measure, *changes, progress=False)["value"].to_numpy()


def asked(name, ask, rows=1, norm="rms"):
    return made(name, norm)[0].examples.where(concept="none", ask=ask).select([0] * rows)


def reply(name, *changes, ask="notice"):
    with steering.apply(made(name)[1], *changes):
        return made(name)[1].generate(asked(name, ask), max_new_tokens=4)[0]


def injected(name, concept, strength=STRONG, site="resid_post.1"):
    return steering.Add(concept_vector(name, concept, site), strength, unit="difference")


@functools.cache
def score(name):
    """Rates over the concepts: affirmative, word named, and affirmative before the right word."""
    model, words = made(name)[1], concepts(name)
    each = STRONG * np.eye(len(words))
    adds = [steering.Add(concept_vector(name, word), each[k], unit="difference") for k, word in enumerate(words)]
    with steering.apply(model, *adds):
        texts = [text.split() for text in model.generate(asked(name, "notice", len(words)), max_new_tokens=4)]
    yes = [text[:1] == ["yes"] for text in texts]
    named = [word in text for word, text in zip(words, texts, strict=True)]
    return np.mean([yes, named, np.logical_and(yes, named)], axis=1).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_concept_vectors_are_found_whoever_reads_them(name):
    for concept in concepts(name):
        truth = made(name)[0].truth.direction(concept)
        found = concept_vector(name, concept)
        assert float(found.vector @ truth.tensor) == pytest.approx(truth.cosine, abs=0.02) and truth.cosine > 0.95


def test_trials_tell_noticing_from_naming_and_from_saying_yes():
    favourite_only = 1 / len(concepts(YES))
    assert score(DETECTOR) == [1, 1, 1]
    assert score(BLIND) == [0, 0, 0]
    assert score(PARROT) == [0, 1, 0]
    assert score(YES) == [1, favourite_only, favourite_only]
    assert {name: reply(name) for name in NAMES} == dict.fromkeys(NAMES, "no")


def test_the_careless_score_takes_the_parrot_and_the_yes_sayer_for_detectors():
    (_, word_match, _), (yes_rate, _, _) = score(PARROT), score(YES)
    assert word_match == score(DETECTOR)[1] == 1
    assert yes_rate == score(DETECTOR)[0] == 1


def test_controls_catch_the_yes_sayer():
    for name, caught in ((DETECTOR, False), (YES, True)):
        vector = concept_vector(name, "thunder")
        other = said_yes(name, asked(name, "agree"), steering.Add(vector, STRONG, unit="difference"))
        assert (other > 0.5).all() == caught
        random = [
            said_yes(name, asked(name, "notice"), steering.Add(vector.random_like(seed), STRONG, unit="raw"))[0] > 0.5
            for seed in range(40)
        ]
        assert np.mean(random) > 0.8 if caught else np.mean(random) < 0.1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_psychometric_curve_is_the_planted_one(sign):
    strengths = np.array([0, 1, 1.5, 1.75, 2, 2.25, 2.5, 3])
    rows = asked(DETECTOR, "notice", len(strengths), "none")
    add = steering.Add(planted(DETECTOR, "velvet", "none"), sign * strengths, unit="raw")
    rates = said_yes(DETECTOR, rows, add, norm="none")
    logits = np.log(rates / (1 - rates))
    assert logits == pytest.approx([-3, -3, -3, -1.5, 0, 1.5, 3, 3], abs=1e-3)
    for name in (BLIND, PARROT):
        add = steering.Add(planted(name, "velvet", "none"), sign * strengths, unit="raw")
        assert np.ptp(said_yes(name, asked(name, "notice", len(strengths), "none"), add, norm="none")) < 1e-5


def test_a_negated_thought_is_noticed_and_another_is_named():
    words = reply(DETECTOR, injected(DETECTOR, "ocean", -STRONG)).split()
    assert words[0] == "yes" and words[1] != "ocean"


def test_an_injection_after_the_comparison_comes_too_late_for_all_but_the_parrot():
    for site, noticed in (("resid_post.0", True), ("resid_post.1", True), ("resid_post.2", False)):
        thunder = steering.Add(planted(DETECTOR, "thunder").at(site), STRONG, unit="raw")
        assert reply(DETECTOR, thunder) == ("yes thunder" if noticed else "no")
    last = steering.Add(planted(PARROT, "thunder").at("resid_post.3"), STRONG, unit="raw")
    assert reply(PARROT, last) == reply(PARROT, last, ask="name") == "thunder"


def test_a_thought_is_told_from_text_and_both_at_once():
    organism, model = made(DETECTOR)
    spoken = organism.examples.where(concept="ocean", ask="notice")
    assert set(model.generate(spoken, max_new_tokens=4)) == {"no"}
    # 1 from the text and 1.2 from outside are above the threshold together; what is not explained is not.
    for word, below in (("ocean", 1.2), ("thunder", 1.2)):
        with steering.apply(model, steering.Add(planted(DETECTOR, word), below, unit="raw")):
            assert set(model.generate(spoken, max_new_tokens=4)) == {"no"}
    with steering.apply(model, injected(DETECTOR, "thunder")):
        assert set(model.generate(spoken, max_new_tokens=4)) == {"yes thunder"}
    with steering.apply(model, steering.Add(planted(DETECTOR, "ocean"), STRONG, unit="raw")):
        assert set(model.generate(spoken, max_new_tokens=4)) == {"yes ocean"}
