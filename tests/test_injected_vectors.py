"""Injected thoughts, the vectors of concepts: what is planted, with its length, and words that cannot have one."""

import pytest
import torch
from built import made

import lens
from lens import DataError
from steering.studies import injected_thoughts as study


def test_concept_vectors_are_the_planted_ones_with_their_length():
    organism, model = made("thought-detector")
    given = study.of_organism("thought-detector")
    found = study.concept_vectors(
        model, given["concepts"], given["baseline"], ["resid_post.0", "resid_post.1"], tell=given["asked"].tell,
        progress=False,
    )  # fmt: skip
    for word, own in found.items():
        for site, one in own.items():
            assert one.site == site
            assert float(one.vector @ organism.truth.direction(word).tensor) > 0.9
            assert one.norm == one.difference == pytest.approx(1.0, abs=0.15)
    acts = lens.collect(
        model,
        [given["asked"].tell.replace("{word}", word) for word in ["ocean", *given["baseline"]]],
        sites=["resid_post.1"],
        progress=False,
    )["resid_post.1"]
    raw = acts[0] - acts[1:].mean(dim=0)
    one = found["ocean"][lens.Site("resid_post", 1)]
    assert torch.allclose(one.vector * one.norm, raw, atol=1e-5)


def test_words_that_are_injected_are_no_baseline_and_must_differ_from_it():
    model = made("thought-blind")[1]
    tell = study.of_organism("thought-blind")["asked"].tell
    with pytest.raises(DataError, match="baseline"):
        study.concept_vectors(model, ["ocean"], ["ocean"], tell=tell, progress=False)
    with pytest.raises(DataError, match=r"no \{word\}"):
        study.concept_vectors(model, ["ocean"], ["river"], tell="think of it", progress=False)
    with pytest.raises(DataError, match="'squirrel' has no vector"):  # both unknown to it
        study.concept_vectors(model, ["squirrel"], ["walnut"], tell=tell, progress=False)
