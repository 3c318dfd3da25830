"""Constructed organisms as objects: exact norms, verbs, records, folders, and what a record that does not fit does."""

import dataclasses
import json

import pytest
import torch
import transformers

import lens
from lens.organisms import constructed
from lens.organisms.constructed import Builder, llama
from lens.organisms.constructed.measure import measure


@pytest.fixture(scope="module")
def organism():
    return constructed.build("traits-correlated")


def test_every_family_has_its_three_roles_and_every_member_a_claim_that_must_come_out_false():
    roles = {}
    for name in constructed.names():
        plan = constructed._FAMILIES[name].plan(name, 0)
        roles.setdefault(name.split("-")[0], set()).add(plan.role)
        assert plan.what == constructed._FAMILIES[name].WHAT[name] and plan.false_claims
    assert len(roles) >= 14
    assert all(found == {"positive", "negative", "confound"} for found in roles.values()), roles


@pytest.mark.parametrize("name", ["traits-leak", "style-causal", "deception", "evaluation-format", "backdoor-aware"])
def test_without_norms_every_number_of_the_truth_is_exact_whatever_the_seed(name):
    table = constructed.build(name, seed=7, norm="none").measure()
    rates = table["what"].str.startswith("rate")
    effects = table["what"].str.startswith("effect")
    assert rates.sum() >= 2 and effects.sum() >= 1
    assert table.loc[rates, "error"].max() < 1e-5
    assert table.loc[effects, "error"].max() < 2e-5


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(organism):
    again, other = constructed.build("traits-correlated"), constructed.build("traits-correlated", 1)
    assert again.truth == organism.truth
    assert again.examples.frame.equals(organism.examples.frame)
    assert other.truth.weights != organism.truth.weights


def test_norm_none_is_the_identity_bit_for_bit():
    hf = constructed.build("style", norm="none").hf
    generator = torch.Generator().manual_seed(0)
    for size in (1e-6, 1.0, 50.0):
        h = size * torch.randn(20, llama.WIDTH, generator=generator)
        assert torch.equal(hf.model.norm(h), h)
        assert torch.equal(hf.model.layers[0].input_layernorm(h), h)


def test_norm_rms_scales_as_its_formula_says():
    hf = constructed.build("style").hf
    h = torch.randn(20, llama.WIDTH, generator=torch.Generator().manual_seed(0))
    constant = constructed.builder.CONSTANT
    assert torch.allclose(hf.model.norm(h), constant * h / h.norm(dim=1, keepdim=True), rtol=1e-4)


def test_a_page_makes_an_organism():
    b = Builder(3)
    b.feature("cue", "warm", "felt", "kind")
    b.feature("near", near={"felt": 0.6})
    b.word("sun", cue=1.0, warm=2.0)
    b.word("and", "?", "yes")
    b.carry(0, "cue", {"warm": "felt"})
    b.linear(1, "felt", "kind", gain=-0.5)
    b.ramp(2, "felt", "near", threshold=1.0, width=0.5, gain=3.0)
    b.product(3, "felt", {"kind": 1.0}, "kind", gain=1.0)
    b.readout("yes", kind=4.0, bias=1.0)
    hf, tokenizer = b.build("none")
    ids = tokenizer(["sun and ?", "and and ?"], return_tensors="pt").input_ids
    with torch.no_grad():
        logit = hf(ids).logits[:, -1, tokenizer.convert_tokens_to_ids("yes")]
    # The ramp writes 3 along `near`, whose cosine with felt is .6: felt = 2 + 1.8 there; kind = −1 − 3.8 · 1.
    assert logit.tolist() == pytest.approx([1 + 4 * (-1 - 3.8), 1.0], abs=1e-4)
    assert float(b.vector("near") @ b.vector("felt")) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda b: b.feature("constant"), "named twice"),
        (lambda b: b.feature("x", near={"start": 0.8, "constant": 0.8}), "more than 1"),
        (lambda b: b.feature(*(f"f{k}" for k in range(60))), "directions are taken"),
        (lambda b: b.word("a b"), "without spaces"),
        (lambda b: b.word("<pad>"), "not a new word"),
        (lambda b: b.word("x", warmth=1.0), "available: constant, start"),
        (lambda b: b.readout("x", start=1.0), "No word 'x'"),
        (lambda b: b.linear(4, "start", "start"), "No block 4; available: 0 to 3"),
        (lambda b: [b.mix(0) for _ in range(5)], "all 4 heads are taken"),
    ],
)
def test_the_builder_names_what_it_cannot_do(wrong, says):
    with pytest.raises(lens.ModelError, match=says):
        wrong(Builder(0))


def test_unknown_names_list_what_there_is(organism):
    with pytest.raises(lens.ModelError, match="available: traits, traits-correlated"):
        constructed.build("trait")
    with pytest.raises(lens.ModelError, match="available: warmth, boldness, brevity"):
        organism.labelled("courage")


@pytest.mark.parametrize("norm", ["rms", "none"])
def test_a_saved_folder_is_an_ordinary_model(tmp_path, norm):
    organism = constructed.build("backdoor-aware", norm=norm)
    organism.save(tmp_path)
    hf = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompts = organism.examples.prompts[:8]
    ids = organism.tokenizer(prompts, return_tensors="pt", padding=True)
    assert torch.equal(tokenizer(prompts, return_tensors="pt", padding=True)["input_ids"], ids["input_ids"])
    with torch.no_grad():
        assert torch.equal(hf(**ids).logits, organism.hf(**ids).logits)
    again = constructed.load(tmp_path)
    assert again.truth == organism.truth
    assert again.examples.hash() == organism.examples.hash()
    assert lens.load(tmp_path).d_model == llama.WIDTH


def test_a_folder_without_an_organism_is_refused(tmp_path):
    with pytest.raises(lens.ModelError, match="no constructed organism"):
        constructed.load(tmp_path)


def _other(record, part, **values):
    first, *rest = getattr(record, part)
    return dataclasses.replace(record, **{part: (dataclasses.replace(first, **values), *rest)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: _other(t, "behaviours", rate=0.5), "rate: .* is .*, not 0.5"),
        (lambda t: _other(t, "effects", gain=-2.0), "effect of .* is"),
        (lambda t: _other(t, "directions", spread=0.0), "spread of warmth .* is 1.9.*, not 0.0"),
        (lambda t: _other(t, "directions", cosine=0.5), "cosine of warmth"),
        (lambda t: _other(t, "directions", site="resid_post.3", vector=t.directions[2].vector), "spread of warmth"),
        (lambda t: _other(t, "directions", vector=(1.0,) * 64), "norm of warmth is 8.0"),
        (lambda t: _other(t, "directions", vector=(1.0,)), "width is not 64"),
        (lambda t: _other(t, "behaviours", where={"warmth": 5}), "no example has"),
        (lambda t: _other(t, "behaviours", where={"mood": 5}), "no column 'mood'"),
        (lambda t: dataclasses.replace(t, weights="0" * 16), "another digest"),
    ],
)
def test_a_record_that_does_not_fit_its_weights_is_refused(organism, change, says):
    with pytest.raises(lens.ModelError, match=says):
        dataclasses.replace(organism, truth=change(organism.truth)).check()


def test_a_folder_whose_record_does_not_fit_does_not_load(organism, tmp_path):
    organism.save(tmp_path)
    (tmp_path / "truth.json").write_text(_other(organism.truth, "behaviours", rate=0.5).to_json())
    with pytest.raises(lens.ModelError, match="the truth record does not fit the model"):
        constructed.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "traits"}'])
def test_what_is_no_record_is_named(text):
    with pytest.raises(lens.ModelError, match="no truth record"):
        constructed.Truth.from_json(text)


def test_changed_weights_do_not_load(tmp_path):
    organism = constructed.build("traits-correlated")
    with torch.no_grad():
        organism.hf.lm_head.weight.mul_(0.5)
    with pytest.raises(lens.ModelError, match="rate"):
        organism.check()
    other = constructed.build("traits-correlated", 1)
    with pytest.raises(lens.ModelError, match="does not fit"):
        measured = constructed.Constructed(other.hf, other.tokenizer, organism.truth, other.examples)
        measured.check()
    hf = transformers.LlamaForCausalLM(transformers.LlamaConfig(hidden_size=32, num_hidden_layers=1, vocab_size=9))
    with pytest.raises(lens.ModelError, match="no Llama of 4 blocks of width 64"):
        measure(organism.truth, hf, organism.tokenizer, organism.examples)


def test_truth_is_plain_json(organism):
    facts = json.loads(organism.truth.to_json())
    assert facts["directions"][0]["name"] == "warmth"
    assert constructed.Truth.from_json(organism.truth.to_json()) == organism.truth


def test_load_builds_by_name_and_an_unknown_name_lists_them():
    model = lens.load("organism:traits")
    assert (model.n_layers, model.d_model) == (4, 64)
    with pytest.raises(lens.ModelError, match=r"'nobody'; available: trained, .*traits"):
        lens.load("organism:nobody")
