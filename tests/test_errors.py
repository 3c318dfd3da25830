"""Errors are one family, and name what was given and what could have been given."""

import time

import huggingface_hub
import pytest
import tiny
import torch
import transformers

import lens
import probes
import steering
from lens.errors import available
from probes import Direction

FAMILY = [lens.ArtifactError, lens.DataError, lens.ModelError, lens.SiteError, lens.SpanError]


@pytest.mark.parametrize("error", FAMILY)
def test_every_error_is_a_lens_error(error):
    assert issubclass(error, lens.LensError)


def test_available_lists_what_there_is():
    assert available([]) == "none"
    assert available(["a", 2]) == "a, 2"
    assert available(range(20), limit=3) == "0, 1, 2, … (20 in all)"


# (what was done wrong, what the message must name: the thing given, and what was available)
MISTAKES = {
    "unknown site kind": (lambda m: m.sites("resid_past.1"), ["resid_past.1", "resid_pre", "resid_mid", "resid_post"]),
    "layer too high": (lambda m: m.sites("resid_post.9"), ["resid_post.9", "4 blocks", "0 to 3"]),
    "unknown span": (lambda m: m.show_tokens("the", span="promt"), ["promt", "prompt[-1]"]),
    "no folder": (lambda m: lens.load("./nowhere"), ["./nowhere", "folder", "organism"]),
    "unknown organism": (lambda m: lens.load("organism:none"), ["'none'", "available"]),
    "unknown dtype": (lambda m: lens.load("organism", dtype="float31"), ["float31", "bfloat16"]),
    "no group column": (
        lambda m: lens.Examples.from_texts(["a"]).split(by="topic"),
        ["topic", "prompt", "label", "group"],
    ),
    "unknown generation option": (lambda m: m.generate("the", tokens=3), ["tokens", "GenerationConfig"]),
    "unknown architecture": (
        lambda m: lens.wrap(torch.nn.Linear(2, 2), m.tokenizer),
        ["Linear", "LlamaForCausalLM"],
    ),
    "vector of another width": (
        lambda m: steering.Add(
            probes.Direction.from_vector([1.0, 2.0], "resid_post.1"), unit="raw"
        ).direction.check_model(m),
        ["width 2", "width 64", "gpt2"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_explained(gpt2, mistake):
    run, named = MISTAKES[mistake]
    with pytest.raises(lens.LensError) as caught:
        run(gpt2)
    for word in named:
        assert word in str(caught.value)


def test_a_folder_without_a_model_lists_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(lens.ModelError, match=r"no config\.json; files there: notes\.txt"):
        lens.load(tmp_path)


def test_an_encoder_decoder_is_refused(tmp_path):
    size = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**size)).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(lens.ModelError, match="T5ForConditionalGeneration is an encoder-decoder"):
        lens.load(tmp_path)


def test_a_hub_id_without_network_fails_soon_and_says_what_to_do(monkeypatch):
    name = "nobody-has-this/model-0"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(lens.ModelError) as caught:
        lens.load(name)
    if "does not give" in str(caught.value):
        pytest.skip("a hub can be reached")
    assert time.monotonic() - start < 15
    assert name in str(caught.value) and "lens.load('path/to/folder')" in str(caught.value)
    assert "organism" in str(caught.value)


def test_what_is_no_hub_id_is_told_so():
    with pytest.raises(lens.ModelError, match="neither a folder nor a hub id"):
        lens.load("what is this?")


def test_a_site_counted_from_the_end_needs_a_model(llama):
    direction = Direction.from_vector(torch.ones(llama.d_model), "resid_post.1", residual_norm=1.0)
    with pytest.raises(lens.SiteError, match="no model is given"):
        direction.at("resid_post.-1")
    assert str(Direction.from_vector(direction.vector, "resid_post.-1", model=llama).site) == "resid_post.3"


def test_a_span_without_a_token_is_told_before_anything_is_measured(llama):
    direction = Direction.from_vector(torch.ones(llama.d_model), "resid_post.1", residual_norm=1.0)
    rows, measure = lens.Examples.from_texts(["the fox"]), steering.measures.option(" a", " b")
    for span in ("prompt[99]", "response"):
        with pytest.raises(lens.SpanError, match="selects no token"):
            steering.effects(llama, rows, measure, steering.Add(direction, 1.0, span=span))


def test_a_text_is_no_list_of_texts(llama):
    with pytest.raises(lens.DataError, match="list of texts"):
        lens.collect(llama, "one text")


def test_devices_that_are_not_there_are_named():
    with pytest.raises(lens.ModelError, match="'gpu'"):
        lens.load("organism", device="gpu")
