"""Edits on disk: a small file that does the same again bit for bit, and a folder that loads without this package."""

import json

import pytest
import torch
import transformers
from edited import PLAIN, direction, fresh, is_as, logits, state
from safetensors import safe_open
from safetensors.torch import save_file
from test_edit_sites import eraser

import lens
from lens import ArtifactError, ModelError
from steering import AddBias, Edit, EraseWeights, Orthogonalize, Surgery, edit

pytestmark = pytest.mark.filterwarnings("ignore:The cut-off cosine")

CHANGES = {
    "orthogonalize": lambda model: Orthogonalize([direction(0), direction(1)]),
    "surgery": lambda model: Surgery(direction().vector, rows=20),
    "bias": lambda model: AddBias(direction(site="mlp_out.1"), 2.0, unit="raw"),
    "erase": lambda model: EraseWeights(eraser(model, "attn_out.2")),
}


def same_tensors(one, other) -> bool:
    left, right = state(one)["tensors"], state(other)["tensors"]
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3"])
def test_a_saved_edit_is_made_again_bit_for_bit(family, kind, tmp_path):
    model = fresh(family)
    done = edit(model, CHANGES[kind](model))
    path = done.save(tmp_path / "some" / "edit.safetensors")
    again = fresh(family)
    before = state(again)
    loaded = Edit.load(again, path)
    assert same_tensors(model, again) and torch.equal(logits(model), logits(again))
    assert loaded.name == done.name and again.fingerprint == model.fingerprint
    assert (loaded.exact, loaded.note, loaded.parameters) == (done.exact, done.note, done.parameters)
    assert json.dumps(loaded.details) == json.dumps(done.details)
    loaded.undo()
    assert is_as(again, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_so_it_is_in_other_dtypes(dtype, tmp_path):
    model, again = fresh("gpt2"), fresh("gpt2")
    for one in (model, again):
        one.hf.to(dtype)
    path = edit(model, Orthogonalize(direction())).save(tmp_path / "e.safetensors")
    Edit.load(again, path)
    assert same_tensors(model, again)


def test_the_file_is_small_and_holds_no_pickle(tmp_path):
    model = fresh("gpt2")
    whole = sum(tensor.numel() * tensor.element_size() for tensor in model.hf.state_dict().values())
    sizes = {}
    for kind, settings in (("orthogonalize", [direction()]), ("two", [direction(0), direction(1)])):
        with edit(model, Orthogonalize(settings)) as done:
            sizes[kind] = done.save(tmp_path / kind).stat().st_size
    assert sizes["orthogonalize"] < 0.05 * whole and sizes["two"] < 2 * sizes["orthogonalize"]
    with safe_open(tmp_path / "two", framework="pt") as file:
        record = json.loads(file.metadata()["edit"])
    assert record["fingerprint"] == model.fingerprint and len(record["deltas"]) == 18
    llama = fresh("llama")
    with edit(llama, Surgery(direction().vector, rows=20)) as done:
        assert done.save(tmp_path / "surgery").stat().st_size < 8000


def test_on_other_weights_it_is_refused_unless_asked_for(tmp_path):
    path = edit(fresh("llama"), Orthogonalize(direction())).save(tmp_path / "e")
    other = fresh("llama", seed=1)
    before = state(other)
    with pytest.raises(ArtifactError, match=r"fingerprint \w+\. Pass other_model=True"):
        Edit.load(other, path)
    assert is_as(other, before)
    Edit.load(other, path, other_model=True).undo()
    assert is_as(other, before)
    for family, says in (("gpt2", "llama|model.embed_tokens"), ("qwen3", "does not fit")):
        foreign = fresh(family)
        before = state(foreign)
        if family == "qwen3":
            foreign.hf.resize_token_embeddings(100)
            before = state(foreign)
        with pytest.raises(ArtifactError, match=says):
            Edit.load(foreign, path, other_model=True)
        assert is_as(foreign, before)


def test_weights_that_differ_where_the_fingerprint_does_not_look_are_noticed(tmp_path):
    path = edit(fresh("llama"), Orthogonalize(direction())).save(tmp_path / "e")
    other = fresh("llama")
    with torch.no_grad():
        other.hf.get_parameter("model.layers.1.mlp.down_proj.weight").view(-1)[1] += 1.0
    before = state(other)
    assert other.fingerprint == fresh("llama").fingerprint
    with pytest.raises(ArtifactError, match="was saved from other weights"):
        Edit.load(other, path)
    assert is_as(other, before)


def test_a_second_edit_needs_the_first(tmp_path):
    model = fresh("llama")
    first = edit(model, Surgery(direction().vector, rows=20))
    first.save(tmp_path / "first")
    edit(model, Orthogonalize(direction(1))).save(tmp_path / "second")
    with pytest.raises(ModelError, match="Later edits are on top"):
        first.save(tmp_path / "late")
    again = fresh("llama")
    with pytest.raises(ArtifactError, match="fingerprint"):
        Edit.load(again, tmp_path / "second")
    Edit.load(again, tmp_path / "first")
    Edit.load(again, tmp_path / "second")
    assert same_tensors(model, again) and again.edits == model.edits
    with pytest.raises(ArtifactError, match="fingerprint"):
        Edit.load(again, tmp_path / "first")


def damaged(path, **facts):
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(file.metadata()["edit"]) | facts
    save_file(tensors, path, metadata={"edit": json.dumps(record)})


def test_what_is_no_saved_edit_is_refused(tmp_path):
    model = fresh("llama")
    before = state(model)
    path = tmp_path / "e"
    with pytest.raises(ArtifactError, match="is not a saved edit"):
        Edit.load(model, path)
    direction().save(path)
    with pytest.raises(ArtifactError, match="is not a saved edit"):
        Edit.load(model, path)
    done = edit(model, Orthogonalize(direction()))
    done.save(path)
    done.undo()
    with pytest.raises(ModelError, match="was undone"):
        done.save(path)
    for facts, says in (
        ({"format": 0}, "another format"),
        ({"deltas": [{}]}, "is not a saved edit"),
    ):
        done = edit(model, Orthogonalize(direction()))
        done.save(path)
        done.undo()
        damaged(path, **facts)
        with pytest.raises(ArtifactError, match=says):
            Edit.load(model, path)
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(ArtifactError, match="is not a saved edit"):
        Edit.load(model, path)
    assert is_as(model, before)


def opened(folder):
    """As anybody would, without this package."""
    hf = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the quick brown fox", return_tensors="pt").input_ids
    with torch.no_grad():
        return hf.eval()(ids).logits[0], hf


@pytest.mark.parametrize("family", [*PLAIN, "opt"])
def test_an_exported_folder_loads_by_itself_and_says_the_same(family, tmp_path):
    model = fresh(family)
    plain = logits(model)
    done = edit(model, Orthogonalize(direction()))
    done.export(tmp_path)
    found, hf = opened(tmp_path)
    assert torch.allclose(found, logits(model), atol=1e-5) and not torch.allclose(found, plain, atol=1e-2)
    assert all(torch.equal(t, model.hf.state_dict()[name]) for name, t in hf.state_dict().items())
    assert torch.allclose(logits(lens.load(tmp_path)), logits(model), atol=1e-5)


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "olmo2"])
def test_so_does_one_that_was_edited_through_its_norms(family, tmp_path):
    model = fresh(family)
    edit(model, Orthogonalize(direction(), through_norms=True)).export(tmp_path)
    assert torch.allclose(opened(tmp_path)[0], logits(model), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "site", "switches"),
    [
        ("llama", "mlp_out.1", {"mlp_bias"}),
        ("llama", "attn_out.1", {"attention_bias"}),
        ("qwen3", "attn_out.1", {"attention_bias"}),
        ("falcon", "mlp_out.1", {"bias"}),
        ("gptj", "mlp_out.1", set()),
        ("gpt2", "attn_out.1", set()),
    ],
)
def test_an_added_bias_is_in_the_folder_with_the_switch_that_reads_it(family, site, switches, tmp_path):
    model = fresh(family)
    before, plain = state(model), logits(model)
    done = edit(model, AddBias(direction(site=site), 3.0, unit="raw"))
    held = model.hf.config.to_dict()
    done.export(tmp_path)
    assert model.hf.config.to_dict() == held
    found, hf = opened(tmp_path)
    assert torch.allclose(found, logits(model), atol=1e-5) and not torch.allclose(found, plain, atol=1e-2)
    new = hf.config.to_dict()
    assert {name for name, value in new.items() if value is True and held.get(name) is False} == switches
    done.undo()
    assert is_as(model, before)


def test_biases_of_two_edits_need_both_switches(tmp_path):
    model = fresh("llama")
    edit(model, AddBias(direction(site="mlp_out.1"), unit="raw"))
    edit(model, AddBias(direction(site="attn_out.2"), unit="raw")).export(tmp_path)
    assert torch.allclose(opened(tmp_path)[0], logits(model), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "site"),
    [("qwen3", "mlp_out.1"), ("mistral", "attn_out.1"), ("phi3", "mlp_out.1"), ("qwen2", "attn_out.1"),
     ("gptj", "attn_out.1")],
)  # fmt: skip
def test_a_bias_that_no_configuration_makes_is_refused_before_anything_is_written(family, site, tmp_path):
    model = fresh(family)
    done = edit(model, AddBias(direction(site=site), unit="raw"))
    before = state(model)
    with pytest.raises(ModelError, match=rf"{type(model.hf).__name__} cannot be loaded with .*bias.*no switch"):
        done.export(tmp_path / "out")
    assert not (tmp_path / "out").exists() and is_as(model, before)


def test_an_undone_edit_exports_nothing(tmp_path):
    done = edit(fresh("llama"), Orthogonalize(direction()))
    done.undo()
    with pytest.raises(ModelError, match="nothing to export"):
        done.export(tmp_path / "out")
