"""lens.Model: the Hugging Face model stays what it was; loading, sites, fingerprints, the bridge."""

import copy

import pytest
import tiny
import torch
import transformers
from tiny import TEXTS

import lens
import steering
from lens import Site
from probes import Direction


def logits(model, text=TEXTS[0]):
    with torch.no_grad():
        return model.hf(**model.tokenizer(text, return_tensors="pt")).logits[0]


@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia"])
def test_the_original_is_untouched_by_reading_steering_and_the_bridge(family, tmp_path):
    hf, tokenizer = tiny.hugging_face(family)
    before, keys = logits(lens.wrap(hf, tokenizer)), list(hf.state_dict())
    attention, tokens = hf.config._attn_implementation, (tokenizer.pad_token, tokenizer.bos_token)

    model = lens.wrap(hf, tokenizer)
    acts = lens.collect(model, TEXTS, sites="resid_post.1")
    with steering.apply(
        model, steering.Add(Direction.from_vector(acts["resid_post.1"][0], "resid_post.1"), unit="raw")
    ):
        model.generate(TEXTS[:2], max_new_tokens=2)
    assert model.bridge is not None

    assert list(hf.state_dict()) == keys
    assert hf.config._attn_implementation == attention
    assert (tokenizer.pad_token, tokenizer.bos_token) == tokens
    assert torch.equal(logits(model), before)
    hf.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(lens.wrap(again, tokenizer)), before)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "phi3"])
def test_the_bridge_gives_the_same_logits_from_the_same_storage(models, family):
    model = models(family)
    ids = model.tokenizer(TEXTS[0], return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.allclose(model.bridge(ids)[0], logits(model), atol=2e-5)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.hf.parameters()}
    assert {parameter.untyped_storage().data_ptr() for parameter in model.bridge.parameters()} <= own


def test_the_bridge_is_built_once(llama):
    assert llama.bridge is llama.bridge


def test_the_bridge_follows_an_edit_and_its_undo():
    model = lens.wrap(*tiny.hugging_face("qwen3"))  # tied embeddings, untied by the edit
    ids = model.tokenizer(TEXTS[0], return_tensors="pt").input_ids
    direction = Direction.from_vector(torch.randn(64), "resid_post.1")
    assert model.bridge is not None
    for _ in ("edited", "undone"):
        with torch.no_grad():
            assert torch.allclose(model.bridge(ids)[0], logits(model), atol=2e-5)
        if not model.edits:
            done = steering.edit(model, steering.Orthogonalize(direction))
            with torch.no_grad():
                assert torch.allclose(model.bridge(ids)[0], logits(model), atol=2e-5)
            done.undo()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_steering_through_the_bridge_equals_apply(models, family):
    model, layer = models(family), 1
    vector = torch.randn(64, generator=torch.Generator().manual_seed(1))
    ids = model.tokenizer(TEXTS[0], return_tensors="pt").input_ids
    with torch.no_grad():
        bridged = model.bridge.run_with_hooks(
            ids, fwd_hooks=[(f"blocks.{layer}.hook_resid_post", lambda h, hook: h + 3 * vector)]
        )
    direction = Direction.from_vector(3 * vector, f"resid_post.{layer}")
    add = steering.Add(direction, direction.norm, unit="raw", span="all")
    with steering.apply(model, add):
        applied = logits(model)
    assert torch.allclose(bridged[0], applied, atol=1e-4)
    assert not torch.allclose(applied, logits(model), atol=0.1)


@pytest.mark.parametrize("family", [*tiny.ALL_FAMILIES, "bert"])
def test_a_folder_loads_as_what_was_saved(models, family, tmp_path):
    model = lens.load(tiny.saved(family, tmp_path))
    same = models(family)
    assert type(model.hf) is type(same.hf)
    assert model.is_encoder == (family == "bert")
    assert model.fingerprint == same.fingerprint
    assert (model.n_layers, model.d_model) == (4, 64)
    ours, theirs = (lens.collect(one, TEXTS, sites="resid_post.2")["resid_post.2"] for one in (model, same))
    assert torch.equal(ours, theirs)


def test_load_takes_a_dtype(tmp_path):
    folder = tiny.saved("llama", tmp_path)
    assert lens.load(folder, dtype="bfloat16").dtype == torch.bfloat16
    assert lens.load(folder).dtype == torch.float32


def test_a_float16_checkpoint_becomes_float32_on_a_cpu(tmp_path):
    hf, tokenizer = tiny.hugging_face("llama")
    hf.half().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert lens.load(tmp_path, device="cpu").dtype == torch.float32
    assert lens.load(tmp_path, device="cpu", dtype="float16").dtype == torch.float16


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    tiny.hugging_face("llama")[0].save_pretrained(tmp_path)
    with pytest.raises(lens.ModelError, match=r"(?s)no tokenizer.*lens\.wrap"):
        lens.load(tmp_path)


def test_sites_are_spelled_and_expanded(llama):
    assert llama.sites("resid_post") == [Site("resid_post", layer) for layer in range(4)]
    assert llama.sites(["resid_post.-1", "resid_post.3", Site("resid_pre", 0)]) == [
        Site("resid_post", 3),
        Site("resid_pre", 0),
    ]
    assert Site.parse("mlp_out.-2", n_layers=4) == Site("mlp_out", 2)


@pytest.mark.parametrize("wrong", ["resid_post.4", "resid_post.-5", "resid_poste", "resid_post.x", "", []])
def test_sites_that_do_not_exist_are_refused(llama, wrong):
    with pytest.raises(lens.SiteError):
        llama.sites(wrong)


def test_the_fingerprint_follows_the_weights_not_the_dtype():
    hf, tokenizer = tiny.hugging_face("llama")
    plain = lens.wrap(hf, tokenizer).fingerprint
    other = lens.wrap(*tiny.hugging_face("llama", seed=1)).fingerprint
    halved = lens.wrap(copy.deepcopy(hf).bfloat16(), tokenizer)
    assert plain != other
    assert lens.wrap(copy.deepcopy(halved.hf).float(), tokenizer).fingerprint == halved.fingerprint
    assert lens.wrap(hf, tokenizer).fingerprint == plain


def test_generation_is_greedy_and_in_the_order_asked(model):
    many = model.generate(TEXTS, max_new_tokens=6)
    assert many == [model.generate(text, max_new_tokens=6) for text in TEXTS]
    assert len(set(many)) > 1


def test_generation_takes_a_config_or_its_fields(llama):
    config = transformers.GenerationConfig(max_new_tokens=3, do_sample=False)
    assert llama.generate(TEXTS[0], config=config) == llama.generate(TEXTS[0], max_new_tokens=3)
    with pytest.raises(lens.ModelError, match=r"'max_tokens'.*max_new_tokens"):
        llama.generate(TEXTS[0], max_tokens=3)


def test_generation_says_whether_it_was_cut_off(llama):
    from lens.generation import generate

    cut = generate(llama, TEXTS[:1], max_new_tokens=4)[0]
    assert not cut.finished and len(cut.ids) == 4
    ended = generate(llama, TEXTS[:1], max_new_tokens=4, eos_token_id=cut.ids[1])[0]
    assert ended.finished and ended.ids == cut.ids[:1]


def test_an_encoder_generates_nothing(models):
    with pytest.raises(lens.ModelError, match="encoder"):
        models("bert").generate("the quick")
