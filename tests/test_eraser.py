"""Erasers as artifacts, and what erasing does to organisms whose concepts are known."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import lens
import probes
from lens.organisms import constructed
from lens.organisms.constructed.traits import CUES
from probes import Eraser, Leace
from probes.folds import cross_scores, grouped_folds
from probes.metrics import auroc_interval

SITE = "resid_post.0"


@functools.cache
def organism(name, n=800):
    """A constructed organism's states where warmth is said or its opposite, for texts with all traits crossed."""
    built = constructed.build(name)
    rng, rows = np.random.default_rng(0), []
    places = sorted(set(built.examples.frame["group"]))
    for _ in range(n):
        levels = {trait: int(rng.choice([-1, 1])) for trait in CUES}
        said = " ".join(rng.choice(CUES[trait][level]) for trait, level in levels.items())
        group = str(rng.choice(places))
        thing, place = group.split()
        text = f"the {thing} near the {place} , {said} , {rng.choice(list(CUES))} ?"
        rows.append({"prompt": text, "group": group, "label": (levels["warmth"] + 1) // 2, **levels})
    model = lens.wrap(built.hf, built.tokenizer, name=name)
    acts = lens.collect(model, lens.Examples(pd.DataFrame(rows)), sites=[SITE], progress=False)
    held = np.isin(acts.groups, rng.permutation(places)[: len(places) // 2])
    return built.truth, acts.select(~held), acts.select(held)


def readable(acts, trait):
    """Interval of the out-of-fold AUROC of a trait."""
    labels = (acts.examples.frame[trait] > 0).to_numpy().astype(int)
    plan = grouped_folds(labels, acts.groups, 5, 0)
    scores = cross_scores(acts.numpy(SITE).astype(float), labels, plan, "mean_difference")
    return auroc_interval(labels, scores, acts.groups)


@pytest.mark.filterwarnings("ignore:Only .* groups")
@pytest.mark.parametrize("method", ["leace", "mean_projection", "inlp"])
def test_erasing_a_planted_concept_leaves_the_others_as_they_are(method):
    truth, train, held_out = organism("traits")
    eraser = probes.erase(train, SITE, method)
    assert abs(float(eraser.directions[0].vector @ truth.direction("warmth").tensor)) > 0.99
    after = eraser.erase(held_out)
    low, high = readable(after, "warmth")
    assert readable(held_out, "warmth") == (1.0, 1.0) and low < 0.5 and high < 0.62
    for trait in ("boldness", "brevity"):
        assert readable(held_out, trait) == readable(after, trait) == (1.0, 1.0)


@pytest.mark.filterwarnings("ignore:Only .* groups")
@pytest.mark.parametrize("method", ["leace", "mean_projection", "inlp"])
def test_erasing_what_is_not_there_changes_nothing_measurable(method):
    truth, train, held_out = organism("traits-inert")
    eraser = probes.erase(train, SITE, method)
    before, after = held_out[SITE], eraser(held_out[SITE])
    assert float((after - before).norm() / before.norm()) < 0.01
    assert all(abs(float(one.vector @ truth.direction("warmth").tensor)) < 0.05 for one in eraser.directions)
    if method == "inlp":
        assert eraser.rank == 0


def test_an_eraser_on_disk_is_the_one_that_was_saved(tmp_path, planted):
    acts = planted(signal={0: 2.0})
    eraser = probes.erase(acts, SITE, Leace(0.1))
    path = eraser.save(tmp_path / "new" / "warmth.safetensors")
    again = Eraser.load(path)
    assert torch.equal(again(acts[SITE]), eraser(acts[SITE])) and torch.equal(again.class_means, eraser.class_means)
    for name in ("site", "by", "classes", "residual_norm", "provenance", "name"):
        assert getattr(again, name) == getattr(eraser, name)
    assert again.provenance.method == "Leace(shrinkage=0.1, rounding=1e-06)"
    tensors = load_file(path)
    save_file(tensors, tmp_path / "bare")
    save_file(tensors, tmp_path / "newer", metadata={"eraser": json.dumps({"format": 99})})
    (tmp_path / "cut").write_bytes(path.read_bytes()[:50])
    for name, says in (("bare", "not a saved eraser"), ("newer", "format 1"), ("cut", "not a saved"), ("no", "not a")):
        with pytest.raises(lens.ArtifactError, match=says):
            Eraser.load(tmp_path / name)


def test_an_eraser_knows_its_model(planted, llama):
    acts = planted(signal={0: 2.0, 1: 2.0})
    eraser = probes.erase(acts, SITE)
    after = eraser.erase(acts)
    assert torch.equal(after[SITE], eraser(acts[SITE])) and torch.equal(after["resid_post.1"], acts["resid_post.1"])
    assert after.source.fingerprint == f"planted+{eraser.name}" and after.sites == acts.sites
    assert probes.fit(after, "resid_post.1").direction.score_activations(acts).shape == (len(acts),)
    other = planted(signal={0: 2.0}, fingerprint="another")
    with pytest.raises(lens.ArtifactError, match="other_model=True"):
        eraser.erase(other)
    assert eraser.erase(other, other_model=True)[SITE].shape == other[SITE].shape
    with pytest.raises(lens.ArtifactError, match="width 16"):
        eraser.check_model(llama)


def test_what_cannot_be_erased_is_said(planted):
    acts = planted(signal={0: 2.0})
    moments = lens.Moments.of(acts)
    broken = acts[SITE].clone()
    broken[3, 2] = float("nan")
    nan = lens.Activations({lens.Site.parse(SITE): broken}, acts.norms, acts.examples, acts.source)
    one = acts.select(acts.labels == 1)
    cases = [
        (lambda: probes.erase(acts, SITE, "orth"), "available: leace, mean_projection, inlp"),
        (lambda: probes.erase(moments, SITE, "inlp"), "inlp needs rows"),
        (lambda: probes.erase(moments, SITE, by="group"), "moments by 'label'"),
        (lambda: probes.erase(acts, SITE, by="topic"), "No column 'topic'"),
        (lambda: probes.erase(one, SITE), "two classes or more; column 'label' holds 1"),
        (lambda: probes.erase(lens.Moments.of(one), SITE), "two classes or more; column 'label' holds 1"),
        (lambda: probes.erase(nan, SITE), "not finite"),
        (lambda: probes.erase(lens.Moments.of(nan), SITE), "not finite"),
        (lambda: Leace(1.5), "from 0 to 1"),
        (lambda: probes.erase(acts, SITE).oracle(acts[SITE], acts.labels[:5]), "120 rows need as many labels"),
        (lambda: probes.erase(acts, SITE).oracle(acts[SITE], acts.labels + 1), "Unknown classes: 2; available: 0, 1"),
    ]
    for run, says in cases:
        with pytest.raises(lens.DataError, match=says):
            run()
    with pytest.raises(lens.SiteError, match="collected"):
        probes.erase(acts, "resid_post.9")
