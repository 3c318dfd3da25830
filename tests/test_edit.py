"""steering.edit: directions written out of the weights, with exact undo."""

import importlib

import pytest
import tiny
import torch
import transformers
from tiny import TEXTS

import lens
import steering
from lens import ModelError
from probes import Direction
from steering import Ablate, Orthogonalize, edit, writers

# The fixtures' models may not be changed; families below differ in tying, biases, Conv1D and parallel blocks.
EDITABLE = ("gpt2", "pythia", "llama", "qwen3", "mistral", "phi3", "falcon", "gptneo")
TIED = ("gpt2", "qwen3", "falcon", "gptneo")


def fresh(family: str) -> lens.Model:
    return lens.wrap(*tiny.hugging_face(family), name=family)


def direction(seed=0) -> Direction:
    return Direction.from_vector(torch.randn(64, generator=torch.Generator().manual_seed(seed)), "resid_post.1")


def logits(model, text=TEXTS[0]):
    with torch.no_grad():
        return model.hf(model.tokenizer(text, return_tensors="pt").input_ids).logits[0]


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.hf.state_dict().items()}


def tied(model) -> bool:
    return model.hf.get_output_embeddings().weight is model.hf.get_input_embeddings().weight


@pytest.mark.parametrize("family", EDITABLE)
def test_an_edit_equals_ablating_at_every_writer(family):
    model, d = fresh(family), direction()
    plain = logits(model)
    with steering.apply(model, Ablate(d, to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    edit(model, Orthogonalize(d))
    assert float((logits(model) - hooked).abs().max() / hooked.std()) < 1e-4
    assert float((plain - hooked).abs().max() / hooked.std()) > 0.01


@pytest.mark.parametrize("family", EDITABLE)
def test_nothing_along_the_direction_is_left_in_the_stream(family):
    model, d = fresh(family), direction()
    edit(model, Orthogonalize(d))
    acts = lens.collect(model, TEXTS, sites=["resid_pre", "resid_post"], span="prompt", pool="none")
    for site in acts.sites:
        share = (acts[site][acts.mask] @ d.vector).abs() / acts[site][acts.mask].norm(dim=-1)
        assert float(share.max()) < 1e-5


@pytest.mark.parametrize("family", EDITABLE)
def test_undo_restores_every_bit_the_tying_and_the_configuration(family):
    model = fresh(family)
    before, config, was_tied, printed = state(model), model.hf.config.to_dict(), tied(model), model.fingerprint
    plain = logits(model)
    done = edit(model, Orthogonalize(direction()))
    assert done.parameters
    done.undo()
    assert list(state(model)) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert model.hf.config.to_dict() == config and tied(model) == was_tied
    assert model.fingerprint == printed and model.edits == []
    assert torch.equal(logits(model), plain)
    with pytest.raises(ModelError, match="already undone"):
        done.undo()


@pytest.mark.parametrize("family", TIED)
def test_a_tied_unembedding_keeps_reading_the_direction(family):
    model, d = fresh(family), direction()
    assert tied(model)
    head = model.hf.get_output_embeddings().weight.detach().clone()
    edit(model, Orthogonalize(d))
    assert not tied(model) and model.hf.config.tie_word_embeddings is False
    assert torch.equal(model.hf.get_output_embeddings().weight, head)


@pytest.mark.parametrize("family", TIED)
def test_editing_a_tied_embedding_without_untying_would_be_wrong(family, monkeypatch):
    """The unembedding would lose the direction too: after the final norm that is another model."""
    model, d = fresh(family), direction()
    with steering.apply(model, Ablate(d, to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    monkeypatch.setattr(steering.Edit, "_untie", lambda self: None)
    edit(model, Orthogonalize(d))
    assert float((logits(model) - hooked).abs().max() / hooked.std()) > 1e-3


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_an_edited_model_is_saved_and_loaded_as_it_is(family, tmp_path):
    model = fresh(family)
    edit(model, Orthogonalize(direction()))
    model.hf.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert torch.allclose(logits(lens.load(tmp_path)), logits(model), atol=1e-5)


def test_an_edit_undoes_itself_at_the_end_of_a_block_also_after_an_exception():
    model = fresh("llama")
    before = logits(model)
    with pytest.raises(RuntimeError), edit(model, Orthogonalize(direction())):
        assert not torch.equal(logits(model), before)
        raise RuntimeError
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 0)], ids=["two directions", "one direction twice"])
def test_edits_are_undone_in_reverse_order(seeds):
    model = fresh("qwen3")
    before = state(model)
    first, second = (edit(model, Orthogonalize(direction(seed))) for seed in seeds)
    with pytest.raises(ModelError, match="Undo the later edits first"):
        first.undo()
    second.undo()
    first.undo()
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
    assert tied(model)


def test_the_fingerprint_is_the_bases_plus_the_edits():
    model = fresh("llama")
    base, d = model.fingerprint, direction()
    with edit(model, Orthogonalize(d)) as done:
        assert model.fingerprint == f"{base}+{done.name}" and model.base_fingerprint == base
        with edit(model, Orthogonalize(direction(1))) as other:
            assert model.fingerprint == f"{base}+{done.name}+{other.name}"
    assert model.fingerprint == base


def test_a_direction_of_the_base_still_fits_the_edited_model():
    model = fresh("llama")
    d = Direction.from_vector(torch.ones(64), "resid_post.1", model=model)
    with edit(model, Orthogonalize(d)), steering.apply(model, steering.Add(d, unit="raw")):
        logits(model)


@pytest.mark.parametrize("family", tiny.POST_NORM)
def test_models_that_normalise_what_is_written_are_refused(family):
    model = fresh(family)
    before = state(model)
    with pytest.raises(ModelError, match=r"normalises.*Ablate at attn_out and mlp_out"):
        edit(model, Orthogonalize(direction()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_an_edit_that_misses_a_writer_is_noticed_and_undone():
    """A writer the architecture does not name: here a hook that writes the direction after block 2."""
    model, d = fresh("llama"), direction()
    before = state(model)
    handle = model.blocks[2].register_forward_hook(lambda module, args, out: out + 5 * d.vector)
    with pytest.raises(ModelError, match=r"something else writes.*undone"):
        edit(model, Orthogonalize(d))
    handle.remove()
    assert model.edits == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_an_edit_that_fails_half_way_is_undone(monkeypatch):
    model = fresh("qwen3")
    before = state(model)

    def fail(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(importlib.import_module("steering.edit"), "_left_over", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        edit(model, Orthogonalize(direction()))
    assert model.edits == [] and tied(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


def test_a_direction_of_another_model_is_refused(models):
    model = fresh("llama")
    with pytest.raises(lens.ArtifactError, match="other_model=True"):
        edit(model, Orthogonalize(Direction.from_vector(torch.ones(64), "resid_post.1", model=models("gpt2"))))


def test_a_mixture_of_experts_is_refused_or_edited_completely():
    """Fused experts are no plain writing matrix."""
    size = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokenizer = tiny.tokenizer()
    config = transformers.MixtralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, num_local_experts=2, **size)
    model = lens.wrap(transformers.MixtralForCausalLM(config), tokenizer)
    with pytest.raises(ModelError, match="no plain writing matrix"):
        edit(model, Orthogonalize(direction()))
