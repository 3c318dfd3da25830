"""What a kept run is known by: everything that decides its numbers, and nothing less."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from persona_data import cast
from trait_data import nothing

import lens
from lens import ArtifactError
from probes import Direction
from steering import Ablate, Add, apply, measures
from steering.studies import personas
from steering.studies.personality import Behaviour, Condition
from steering.studies.pieces import Pieces
from steering.studies.result import settings_of
from steering.studies.trait_vectors.scoring import trait_score


@functools.cache
def model():
    return lens.wrap(*tiny.hugging_face("llama"), name="llama")


def test_what_has_an_order_is_known_by_it(tmp_path):
    Pieces(tmp_path, {"scale": {"yes": 2, "no": 1}})
    Pieces(tmp_path, {"scale": {"yes": 2, "no": 1}})
    with pytest.raises(ArtifactError, match="run of other 'scale'"):
        Pieces(tmp_path, {"scale": {"no": 1, "yes": 2}})


def test_a_setting_that_is_new_is_named_though_it_is_none(tmp_path):
    Pieces(tmp_path, {"seed": 0})
    with pytest.raises(ArtifactError, match="run of other 'other'"):
        Pieces(tmp_path, {"seed": 0, "other": None})


def test_a_model_is_known_by_what_is_applied_to_it_and_by_its_precision():
    plain = settings_of(model())
    with apply(model(), Add(Direction.from_vector(np.ones(64), "resid_post.1"), 1.0, unit="raw")):
        assert settings_of(model()) != plain
    assert settings_of(model()) == plain
    hf, tokenizer = tiny.hugging_face("llama")
    assert settings_of(lens.wrap(hf.to(torch.bfloat16), tokenizer, name="llama"))["dtype"] == "torch.bfloat16"


def test_tables_are_known_by_all_their_columns():
    rows = lens.Examples(pd.DataFrame({"prompt": ["a", "b"], "group": [0, 1], "high": ["x", "y"], "low": ["y", "x"]}))
    other = lens.Examples(rows.frame.assign(high=rows.frame["low"], low=rows.frame["high"]))
    assert rows.hash() == other.hash() and rows.hash(whole=True) != other.hash(whole=True)
    assert rows.hash(whole=True) == lens.Examples(rows.frame.copy()).hash(whole=True)


def test_a_study_of_personas_is_not_resumed_with_other_answers_or_another_deal(tmp_path):
    given = cast()
    options = {"draws": 9, "tolerance": 0.9, "progress": False, "resume": tmp_path}
    personas.run(model(), given, **options)
    frame = given.requests.frame
    swapped = lens.Examples(frame.assign(refuse=frame["comply"], comply=frame["refuse"]))
    with pytest.raises(ArtifactError, match="other 'requests'"):
        personas.run(model(), replace(given, requests=swapped), **options)
    turned = {group: {"train": "test", "test": "train"}.get(part, part) for group, part in given.part.items()}
    with pytest.raises(ArtifactError, match=r"other '(dealt|groups)'"):
        personas.run(model(), replace(given, part=turned), **options)


def test_measures_of_one_name_are_told_apart_by_what_they_were_made_with():
    direction = Direction.from_vector(np.ones(64), "resid_post.1")
    pairs = [
        (trait_score("a", "b"), trait_score("c", "d")),
        (measures.option(["a", "b"], "c", name="P"), measures.option(["a", "d"], "c", name="P")),
        (measures.expected_value({"a": 1, "b": 2}), measures.expected_value({"a": 1, "b": 3})),
        (measures.contains("a", name="has"), measures.contains("b", name="has")),
        (measures.contains("a", name="has"), measures.contains("a", name="has", max_new_tokens=4)),
        (measures.lexicon(["a"], name="L"), measures.lexicon(["b"], name="L")),
        (measures.refusal(["no"]), measures.refusal(["never"])),
        (measures.probe_score(direction, name="p"), measures.probe_score(-direction, name="p")),
    ]
    for one, other in pairs:
        assert one.name == other.name and one.described() != other.described()
        assert one.described() == one.described() and "0x" not in str(one.described())


def test_a_behaviour_and_a_condition_are_known_by_all_they_hold():
    rows = lens.Examples(pd.DataFrame({"prompt": ["a", "b"], "group": [0, 1], "yes": ["x", "y"], "no": ["y", "x"]}))
    turned = lens.Examples(rows.frame.assign(yes=rows.frame["no"], no=rows.frame["yes"]))
    score = measures.option("{yes}", "{no}")
    assert Behaviour("calm", rows, score).described() != Behaviour("calm", turned, score).described()
    one = Condition.prompted("calm", [["a", "b"], ["c"]], ["d", "e"])
    other = Condition.prompted("calm", [["a"], ["b", "c"]], ["d", "e"])
    assert one.texts == other.texts and one.described() != other.described()


@pytest.mark.parametrize("fact", ["residual_norm", "difference", "neutral"])
def test_interventions_of_other_lengths_are_others(fact):
    one = Direction.from_vector(np.ones(64), "resid_post.1", residual_norm=1.0, difference=1.0, neutral=1.0)
    other = replace(one, **{fact: 10.0})
    for make in (lambda d: Add(d, 1.0, unit="raw"), lambda d: Ablate(d)):
        assert make(one).identifier != make(other).identifier
        assert make(one).identifier == make(replace(one)).identifier


def test_traits_are_known_by_the_words_of_their_poles():
    from steering.studies import trait_vectors

    options = {"sites": ["resid_post.1"], "strengths": (0.5,), "draws": 9, "progress": False}
    found = [
        trait_vectors.run(model(), {"one": replace(nothing(0), measure=score)}, **options).settings
        for score in (trait_score(" fox", " money"), trait_score(" quick", " brown"))
    ]
    assert found[0]["traits"] != found[1]["traits"]
