"""Hooks that only TransformerLens has are collected by their own names, and equal what the modules compute."""

import pytest
import torch

import lens
from lens import Site

TEXTS = ["the quick brown fox", "she lied", "the money that she lied about"]


def read(model, sites, **options):
    return lens.collect(model, TEXTS, sites=sites, progress=False, **options)


@pytest.mark.parametrize("family", ["llama", "gpt2", "pythia"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_heads_equal_the_input_of_the_output_projection(models, family, side):
    model = models(family)
    seen = []
    names = {"llama": "self_attn.o_proj", "gpt2": "attn.c_proj", "pythia": "attention.dense"}
    module = model.blocks[1].get_submodule(names[family])
    handle = module.register_forward_pre_hook(lambda module, args: seen.append(args[0][0, -1].clone()))
    for text in TEXTS:
        ids = model.tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            model.hf(ids)
    handle.remove()
    acts = read(model, "blocks.1.attn.hook_z", padding_side=side)
    assert acts.sites == [Site("attn.hook_z", 1)]
    assert torch.allclose(acts["blocks.1.attn.hook_z"], torch.stack(seen), atol=1e-5)


def test_sites_of_both_kinds_are_read_together_each_in_its_own_width(llama):
    acts = read(llama, ["resid_post.1", "blocks.1.mlp.hook_post", "attn.hook_q"], span="prompt")
    assert [str(site) for site in acts.sites][:3] == ["resid_post.1", "blocks.1.mlp.hook_post", "blocks.0.attn.hook_q"]
    assert acts["resid_post.1"].shape == (3, 64) and acts["blocks.1.mlp.hook_post"].shape == (3, 128)
    assert len(acts.sites) == 2 + llama.n_layers
    alone = read(llama, "resid_post.1", span="prompt")
    assert torch.equal(acts["resid_post.1"], alone["resid_post.1"])


@pytest.mark.parametrize("pool", ["mean", "none"])
def test_a_store_and_moments_hold_them_too(llama, tmp_path, pool):
    sites = ["resid_post.1", "blocks.1.mlp.hook_post"]
    memory = read(llama, sites, span="prompt", pool=pool)
    stored = read(llama, sites, span="prompt", pool=pool, store=tmp_path / "acts")
    assert stored.sites == memory.sites
    assert all(torch.equal(stored[site], memory[site]) for site in sites)
    again = lens.Store.open(tmp_path / "acts").activations()
    assert torch.equal(again["blocks.1.mlp.hook_post"], memory["blocks.1.mlp.hook_post"])
    moments = lens.collect_moments(llama, TEXTS, by=None, sites=sites, span="prompt", pool=pool, progress=False)
    assert moments["blocks.1.mlp.hook_post"].mean.shape == (1, 128)


def test_a_site_is_written_as_transformer_lens_writes_it():
    site = Site.parse("blocks.3.attn.hook_z")
    assert site == Site("attn.hook_z", 3) and str(site) == "blocks.3.attn.hook_z" and site.in_bridge
    assert Site.parse("blocks.-1.hook_mlp_out", n_layers=4) == Site("hook_mlp_out", 3)
    assert not Site("resid_post", 3).in_bridge
    with pytest.raises(lens.SiteError, match=r"names every layer; give one, for example 'blocks\.3\.attn\.hook_z'"):
        Site.parse("attn.hook_z", n_layers=4)


@pytest.mark.parametrize(
    ("site", "says"),
    [
        ("blocks.1.attn.hook_zz", r"No TransformerLens hook 'blocks\.1\.attn\.hook_zz' .*available: .*attn\.hook_z"),
        ("blocks.9.attn.hook_z", "this model has 4 blocks"),
        ("blocks.1.attn.hook_pattern", "one number per pair of tokens"),
        ("blocks.1.attn.hook_result", "does not offer this hook: .*use_attn_result"),
        ("resid_past.1", "Unknown site"),
    ],
)
def test_what_is_not_there_or_no_vector_per_token_is_said_before_any_work(llama, site, says):
    with pytest.raises(lens.SiteError, match=says):
        read(llama, site)


def test_the_original_is_left_alone_and_cannot_be_steered_there(llama, tmp_path):
    read(llama, "attn.hook_z")
    llama.hf.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    assert lens.load(tmp_path, device="cpu").fingerprint == llama.fingerprint
    with pytest.raises(lens.SiteError, match="a hook here can be put on: resid_pre"):
        llama.attach(Site("attn.hook_z", 1), lambda h: None)
