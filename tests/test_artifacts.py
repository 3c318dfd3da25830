"""Activations and directions on disk: what is read is what was written, or an error says why not."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import TEXTS

import lens
import probes
from lens import Activations, ArtifactError
from probes import Direction


@pytest.fixture
def collected(llama):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pd.DataFrame(
            {
                "prompt": TEXTS,
                "response": [" yes", None, " no\u2028maybe", " fox\nfox", " 'quoted'"],
                "label": [1, 0, None, 1, 0],
                "group": list("aabbc"),
                "topic": [0.1, 0.2, 0.3, 1 / 3, 0.5],
            }
        )
        return lens.collect(llama, lens.Examples(frame), sites=["resid_post.1", "resid_pre.0"], span="prompt")


@pytest.fixture
def direction(planted):
    return probes.fit(planted(signal={1: 3.0}), "resid_post.1").direction


def test_activations_come_back_as_they_were(collected, tmp_path):
    again = Activations.load(collected.save(tmp_path / "acts"))
    assert again.sites == collected.sites and again.source == collected.source
    for site in collected.sites:
        assert torch.equal(again[site], collected[site])
        assert torch.equal(again.norms[site], collected.norms[site])
    assert again.examples.prompts == collected.examples.prompts
    assert again.examples.responses == collected.examples.responses
    assert again.examples.hash() == collected.examples.hash() == again.source.data
    assert again.mask is None


def test_unpooled_activations_keep_their_mask(llama, tmp_path):
    acts = lens.collect(llama, TEXTS, sites="resid_post.1", span="prompt", pool="none")
    again = Activations.load(acts.save(tmp_path / "acts"))
    assert torch.equal(again.mask, acts.mask)
    assert torch.equal(again["resid_post.1"], acts["resid_post.1"])


def test_saving_again_replaces_what_was_there(collected, tmp_path):
    collected.save(tmp_path / "acts")
    collected.select([0, 1]).save(tmp_path / "acts")
    assert len(Activations.load(tmp_path / "acts")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["acts"]


def truncate(folder):
    path = folder / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def drop_a_file(folder):
    (folder / "examples.jsonl").unlink()


def drop_a_row(folder):
    lines = (folder / "examples.jsonl").read_text(encoding="utf-8").split("\n")
    (folder / "examples.jsonl").write_text("\n".join(lines[1:]), encoding="utf-8")


def drop_an_array(folder):
    tensors = load_file(folder / "arrays.safetensors")
    del tensors["array/resid_post.1"]
    save_file(tensors, folder / "arrays.safetensors")


def damage_meta(folder):
    (folder / "meta.json").write_text("{", encoding="utf-8")


def empty_meta(folder):
    (folder / "meta.json").write_text('{"format": 1}', encoding="utf-8")


def another_format(folder):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format": 99}))


DAMAGES = [truncate, drop_a_file, drop_a_row, drop_an_array, damage_meta, empty_meta, another_format]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_damaged_activations_are_refused(collected, tmp_path, damage):
    folder = collected.save(tmp_path / "acts")
    damage(folder)
    with pytest.raises(ArtifactError, match="acts"):
        Activations.load(folder)


def test_activations_say_what_was_collected(collected):
    with pytest.raises(lens.SiteError, match=r"'resid_post\.2'; collected: resid_post\.1, resid_pre\.0"):
        _ = collected["resid_post.2"]


def test_rows_are_selected_together(collected):
    for rows in ([2, 0], np.array([True, False, True, False, False])):
        part = collected.select(rows)
        index = rows if isinstance(rows, list) else np.flatnonzero(rows)
        assert torch.equal(part["resid_post.1"], collected["resid_post.1"][index])
        assert part.examples.prompts == [collected.examples.prompts[k] for k in index]


def test_a_direction_comes_back_as_it_was(direction, tmp_path):
    again = Direction.load(direction.save(tmp_path / "deep" / "d.safetensors"))
    assert torch.equal(again.vector, direction.vector)
    assert again.provenance == direction.provenance
    for name in ("site", "norm", "bias", "residual_norm", "difference", "neutral"):
        assert getattr(again, name) == getattr(direction, name)


def test_a_bare_vectors_direction_keeps_its_unknowns(tmp_path):
    again = Direction.load(Direction.from_vector([3.0, 4.0], "resid_mid.2").save(tmp_path / "d"))
    assert again.vector.tolist() == pytest.approx([0.6, 0.8]) and again.norm == 5.0
    assert np.isnan([again.neutral, again.residual_norm, again.difference]).all()
    assert again.provenance.method == "vector"


def test_a_file_that_is_no_direction_is_refused(direction, tmp_path):
    path = tmp_path / "d.safetensors"
    with pytest.raises(ArtifactError, match="is not a saved direction"):
        Direction.load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ArtifactError, match="is not a saved direction"):
        Direction.load(path)
    save_file({"vector": torch.ones(3)}, path)
    with pytest.raises(ArtifactError, match="is not a saved direction"):
        Direction.load(path)
    direction.save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match="is not a saved direction"):
        Direction.load(path)


@pytest.mark.parametrize("facts", ["{}", '{"format": 99}', '{"format": 1, "site": "resid_post.1", "surprise": 2}'])
def test_a_header_that_does_not_fit_is_refused(facts, tmp_path):
    path = tmp_path / "d.safetensors"
    save_file({"vector": torch.ones(3)}, path, metadata={"direction": facts})
    with pytest.raises(ArtifactError, match=r"d\.safetensors"):
        Direction.load(path)


@pytest.mark.parametrize("vector", [[0.0, 0.0], [float("nan"), 1.0], [[1.0, 2.0]], [float("inf"), 1.0]])
def test_only_a_finite_non_zero_vector_is_a_direction(vector):
    with pytest.raises(ArtifactError, match="finite, non-zero"):
        Direction.from_vector(vector, "resid_post.1")


def test_a_vector_needs_a_layer_and_the_models_width(llama):
    with pytest.raises(lens.SiteError, match="resid_post"):
        Direction.from_vector([1.0, 2.0], "resid_post")
    with pytest.raises(ArtifactError, match="3 entries; llama has width 64"):
        Direction.from_vector([1.0, 2.0, 3.0], "resid_post.1", model=llama)
    with pytest.raises(lens.SiteError, match="4 blocks"):
        Direction.from_vector(torch.ones(64), "resid_post.9", model=llama)
    assert Direction.from_vector(torch.ones(64), "resid_post.-1", model=llama).site.layer == 3


def test_a_direction_knows_its_model(planted, direction, llama):
    elsewhere = planted(signal={1: 3.0}, fingerprint="another")
    with pytest.raises(ArtifactError, match=r"'planted' \(fingerprint planted\).*another.*other_model=True"):
        direction.score_activations(elsewhere)
    assert len(direction.score_activations(elsewhere, other_model=True)) == len(elsewhere)
    with pytest.raises(ArtifactError, match="width 16; llama has width 64"):
        direction.check_model(llama, other_model=True)


def test_an_edited_model_keeps_its_base_fingerprint(planted, direction):
    edited = planted(signal={1: 3.0}, fingerprint="planted+orthogonalize:1234")
    assert len(direction.score_activations(edited)) == len(edited)


def test_scores_and_projections(direction):
    h = torch.randn(5, 16)
    assert torch.allclose(direction.project(h), h @ direction.vector)
    assert torch.allclose(direction.score(h), direction.norm * (h @ direction.vector) + direction.bias)


def test_a_random_control_has_the_same_norms_and_an_unknown_neutral(direction):
    control = direction.random_like(3)
    assert float(control.vector.norm()) == pytest.approx(1.0)
    assert control.residual_norm == direction.residual_norm and control.difference == direction.difference
    assert np.isnan(control.neutral)
    assert torch.equal(control.vector, direction.random_like(3).vector)
    assert not torch.equal(control.vector, direction.random_like(4).vector)
    assert replace(control, vector=direction.vector).site == direction.at("resid_post.1").site


def test_saving_never_removes_what_it_did_not_write(llama, examples, tmp_path):
    acts = lens.collect(llama, examples, sites="resid_post.0")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years of work")
    with pytest.raises(lens.ArtifactError, match=r"thesis\.txt"):
        acts.save(tmp_path / "results")
    assert (tmp_path / "results" / "thesis.txt").read_text() == "years of work"
    acts.save(tmp_path / "acts")
    acts.save(tmp_path / "acts")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acts", "results"]


def test_a_selection_has_its_own_data_hash(llama, examples):
    acts = lens.collect(llama, examples, sites="resid_post.0")
    assert acts.select(np.array([0, 1])).source.data == examples.select([0, 1]).hash() != acts.source.data
