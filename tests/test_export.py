"""Exports: what is written steers, read back, as the interventions do; what a format cannot say is refused by name."""

from inspect import unwrap

import numpy as np
import pytest
import tiny
import torch
from exported import additions, assert_close, direction, hooked_logits, logits, step

import lens
import steering
from probes import Direction
from steering import export

FORMATS = {
    "gguf": (export.gguf, export.read_gguf, "vector.gguf"),
    "safetensors": (export.safetensors, export.read_safetensors, "vector.safetensors"),
    "persona_vectors": (export.persona_vectors, export.read_persona_vectors, "vector.pt"),
    "transformer_lens": (export.transformer_lens, export.read_transformer_lens, "spec.json"),
}
SITES = ("resid_post.1", "resid_pre.3", "resid_post.3")
PLACES = ("resid_post.1", "resid_post.2", "resid_post.3")
FAMILIES = ("gpt2", "llama", "gemma2", "pythia")


@pytest.fixture(params=FORMATS)
def form(request, tmp_path):
    write, read, name = FORMATS[request.param]
    return write, read, tmp_path / "folder" / name


@pytest.fixture(params=FAMILIES)
def model(request, models):
    return models(request.param)


def written(form, model, adds):
    write, read, path = form
    assert write(path, *adds, model=model) == path
    return read(path, model)


def test_what_is_read_back_steers_as_what_was_written(form, model):
    adds = additions(*SITES, model=model)
    read = written(form, model, adds)
    # Files of vectors alone say nothing of tokens: they are read with the default span.
    span = "prompt[-1]:" if form[1] in (export.read_safetensors, export.read_persona_vectors) else "all"
    same = [steering.Add(one.direction, one.strength, span=span) for one in adds]
    assert_close(logits(model, *read), logits(model, *same), logits(model))


def test_vectors_come_back_to_float32(form, llama):
    adds = additions(*SITES, model=llama)
    read = written(form, llama, adds)
    kept = SITES if form[1] is export.read_safetensors else PLACES
    assert [str(one.direction.site) for one in read] == sorted(kept)
    for site, add in zip(kept, adds, strict=True):
        one = next(one for one in read if str(one.direction.site) == site)
        assert one.unit == "raw" and one.direction.vector.norm() == pytest.approx(1.0, abs=1e-6)
        torch.testing.assert_close(one.strength * one.direction.vector, step(add), rtol=1e-6, atol=1e-6)


def test_additions_at_one_place_are_summed(form, llama):
    adds = [*additions("resid_post.1", "resid_post.1"), steering.Add(direction("resid_pre.2", seed=7), 0.3, span="all")]
    read = written(form, llama, adds)
    found = sum(one.strength * one.direction.vector for one in read)
    torch.testing.assert_close(found, sum(map(step, adds)), rtol=1e-5, atol=1e-5)
    assert len(read) == (2 if form[1] is export.read_safetensors else 1)


def test_a_strength_for_each_site_is_written_at_each(form, llama):
    one = direction("resid_post.1")
    add = steering.Add(one, {"resid_post.1": 0.5, "resid_post.2": -2.0}, span="all")
    read = {str(one.direction.site): one.strength * one.direction.vector for one in written(form, llama, [add])}
    for site, strength in (("resid_post.1", 0.5), ("resid_post.2", -2.0)):
        torch.testing.assert_close(read[site], strength * 6.0 * one.vector, rtol=1e-6, atol=1e-6)


def test_the_model_is_known_where_the_file_can_say_it(tmp_path, llama, gpt2):
    for name in ("gguf", "safetensors"):
        write, read, file = FORMATS[name]
        path = write(tmp_path / file, *additions("resid_post.1", model=llama))
        known = read(path)[0].direction.provenance
        assert (known.model, known.fingerprint) == ("llama", llama.fingerprint)
        with pytest.raises(lens.ArtifactError, match="was fitted on 'llama'"):
            read(path, gpt2)


def test_a_file_that_names_no_model_takes_the_given_one(tmp_path, llama):
    for name in ("gguf", "safetensors", "transformer_lens"):
        write, read, file = FORMATS[name]
        path = write(tmp_path / file, *additions("resid_post.1"))
        assert read(path)[0].direction.provenance.fingerprint == ""
        assert read(path, llama)[0].direction.provenance.fingerprint == llama.fingerprint


def test_no_model_is_needed(tmp_path):
    for name, (write, read, file) in FORMATS.items():
        options = {"n_layers": 4} if name == "persona_vectors" else {}
        assert len(read(write(tmp_path / file, *additions(*SITES), **options))) == 3


BAD = {
    "nothing": (lambda: [], "Nothing to export"),
    "no intervention": (lambda: [direction("resid_post.1")], "made of interventions.*given: Direction"),
    "another kind": (lambda: [steering.Ablate(direction("resid_post.1"), to="zero", span="all")], "given: Ablate"),
    "kept norm": (lambda: [steering.Add(direction("resid_post.1"), span="all", keep_norm=True)], "keep_norm"),
    "per row": (lambda: [steering.Add(direction("resid_post.1"), [1.0, 2.0], span="all")], "strength per row"),
    "gate": (
        lambda: [steering.Add(direction("resid_post.1"), span="all", when=steering.Gate(direction("resid_post.0")))],
        "has no conditions",
    ),
    "zero": (lambda: [steering.Add(direction("resid_post.1"), 0.0, span="all")], "zero or not finite"),
    "cancel": (
        lambda: [steering.Add(direction("resid_post.1"), s, span="all") for s in (1.0, -1.0)],
        "zero or not finite",
    ),
    "too large": (lambda: [steering.Add(direction("resid_post.1"), 1e40, span="all")], "zero or not finite"),
    "two widths": (
        lambda: [*additions("resid_post.1"), steering.Add(Direction.from_vector([1.0], "resid_post.2"), unit="raw")],
        "width 64 and 1|width 1 and 64|every token",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_file_can_say_is_refused(form, llama, case):
    make, match = BAD[case]
    write, _, path = form
    options = {"n_layers": 4} if write is export.persona_vectors else {}
    with pytest.raises(lens.LensError, match=match):
        unwrap(write)(path, *make(), **options)
    assert not path.exists() and not list(path.parent.glob("*.part"))


def test_a_unit_that_is_not_known_is_refused_before_there_is_anything_to_export():
    with pytest.raises(lens.ArtifactError, match="does not know its unit 'norm'"):
        steering.Add(Direction.from_vector(torch.ones(64), "resid_post.1"), span="all")


def test_directions_of_several_models_are_refused(form, llama, gpt2):
    write, _, path = form
    options = {"n_layers": 4} if write is export.persona_vectors else {}
    mixed = [*additions("resid_post.1", model=llama), *additions("resid_post.2", model=gpt2)]
    with pytest.raises(lens.ArtifactError, match="Directions of several models: llama, gpt2"):
        write(path, *mixed, **options)
    with pytest.raises(lens.ArtifactError, match="was fitted on 'gpt2'"):
        write(path, *additions("resid_post.2", model=gpt2), model=llama)


def test_a_span_that_the_reader_does_not_know_is_refused(form, llama):
    write, read, path = form
    if write in (export.safetensors, export.persona_vectors):
        assert len(read(write(path, *additions("resid_post.1", span="response"), model=llama))) == 1
        return
    with pytest.raises(lens.SpanError, match=r"every token; this Add has the span 'response'.*span='all'"):
        write(path, *additions("resid_post.1", span="response"))


UNREACHABLE = {
    "gguf": ["resid_pre.0", "resid_post.0", "resid_pre.1", "resid_mid.2", "attn_out.2", "mlp_out.2"],
    "persona_vectors": ["resid_pre.0", "resid_post.4", "resid_mid.2", "attn_out.2", "mlp_out.2"],
    "transformer_lens": ["resid_pre.0", "resid_mid.2", "attn_out.2", "mlp_out.2"],
}


@pytest.mark.parametrize(("name", "site"), [(name, site) for name, sites in UNREACHABLE.items() for site in sites])
def test_sites_that_the_reader_cannot_reach_are_refused_by_name(tmp_path, name, site):
    write, _, file = FORMATS[name]
    options = {"n_layers": 4} if name == "persona_vectors" else {}
    with pytest.raises(lens.SiteError, match=site):
        write(tmp_path / file, *additions(site), **options)


def test_a_block_that_the_model_lacks_is_refused(form, llama):
    write, _, path = form
    with pytest.raises(lens.SiteError, match=r"resid_post.4.*4 blocks"):
        write(path, *additions("resid_post.4"), model=llama)


@pytest.mark.parametrize("content", [None, b"", b"no such file", b"{}", b"[1, 2]"])
def test_files_of_another_kind_are_refused(form, content):
    _, read, path = form
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with pytest.raises(lens.ArtifactError, match=f"{path.name}|holds no vector"):
        read(path)


def test_persona_vectors_code_steers_block_layer_minus_one_with_row_layer(tmp_path, model):
    """Its rule: `vector = torch.load(path)[layer]`, added times coef to the output of block `layer − 1`."""
    add = steering.Add(direction("resid_post.2", seed=2), -0.8, span="all")
    table = torch.load(export.persona_vectors(tmp_path / "v.pt", add, model=model), weights_only=True)
    assert table.shape == (5, 64) and table.dtype == torch.float32
    assert table.abs().sum(dim=1).nonzero().flatten().tolist() == [3]
    layer = 3
    found = hooked_logits(model, {model.blocks[layer - 1]: lambda h: h + table[layer]})
    assert_close(found, logits(model, add), logits(model))


def test_an_extracted_file_gives_a_vector_of_every_layer(tmp_path, llama):
    """Differences of `hidden_states` are read where those are our sites."""
    table = torch.randn(5, 64)
    torch.save(table, tmp_path / "extracted.pt")
    read = export.read_persona_vectors(tmp_path / "extracted.pt", llama)
    assert [str(one.direction.site) for one in read] == [f"resid_post.{k}" for k in range(4)]
    torch.testing.assert_close(read[1].strength * read[1].direction.vector, table[2])
    torch.save(table[:4], tmp_path / "short.pt")
    with pytest.raises(lens.ArtifactError, match=r"shape \[4, 64\]; llama needs \[5, 64\]"):
        export.read_persona_vectors(tmp_path / "short.pt", llama)


def test_row_numbers_are_those_of_hidden_states(tmp_path, llama):
    prompt, site = tiny.TEXTS[0], "resid_post.1"
    with torch.no_grad():
        states = llama.hf(torch.tensor([llama.rows([prompt])[0].ids]), output_hidden_states=True).hidden_states
    acts = lens.collect(llama, [prompt], sites=site, progress=False)[lens.Site.parse(site)]
    add = steering.Add(Direction.from_vector(acts[0], site), float(acts[0].norm()), unit="raw")
    table = torch.load(export.persona_vectors(tmp_path / "v.pt", add, model=llama), weights_only=True)
    assert table[2].numpy() == pytest.approx(states[2][0, -1].numpy(), abs=1e-4)


def test_the_number_of_blocks_must_be_known(tmp_path):
    with pytest.raises(lens.ArtifactError, match="Give model= or n_layers="):
        export.persona_vectors(tmp_path / "v.pt", *additions("resid_post.1"))


def test_safetensors_are_named_by_site(tmp_path, llama):
    from safetensors.numpy import load_file

    adds = additions("attn_out.0", "resid_mid.2", "resid_post.1")
    found = load_file(export.safetensors(tmp_path / "v.safetensors", *adds, model=llama))
    assert set(found) == {"attn_out.0", "resid_mid.2", "resid_post.1"}
    for add in adds:
        vector = found[str(add.direction.site)]
        assert vector.dtype == np.float32 and vector == pytest.approx(step(add).numpy(), rel=1e-6)
