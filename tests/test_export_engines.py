"""Exports for other engines, each run as its own code says: llama.cpp, lm-evaluation-harness, TransformerLens."""

import json

import numpy as np
import pytest
import tiny
import torch
from exported import additions, assert_close, direction, hooked_logits, logits, step

import lens
import steering
from probes import Direction
from steering import export

FAMILIES = ("gpt2", "llama", "gemma2", "pythia")


@pytest.fixture(params=FAMILIES)
def model(request, models):
    return models(request.param)


def control_vector(path, n_layers):
    """llama.cpp's rule: `direction.k` goes to place k − 1 of a flat buffer, and block il ≥ 1 adds what stands at place
    il − 1 to its output; block 0 has none."""
    gguf = pytest.importorskip("gguf")
    buffer = torch.zeros(0)
    for tensor in gguf.GGUFReader(str(path)).tensors:
        word, number = tensor.name.split(".")
        assert word == "direction" and int(number) > 0
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32 and list(tensor.shape) == [64]
        end = 64 * int(number)
        buffer = torch.nn.functional.pad(buffer, (0, max(0, end - len(buffer))))
        buffer[end - 64 : end] += torch.from_numpy(np.array(tensor.data))
    return {il: buffer[64 * (il - 1) : 64 * il] for il in range(1, n_layers) if 64 * il <= len(buffer)}


def test_llama_cpp_steers_as_the_additions_do(tmp_path, model):
    adds = additions("resid_post.1", "resid_pre.3", "resid_post.3", "resid_post.1")
    steps = control_vector(export.gguf(tmp_path / "v.gguf", *adds, model=model), model.n_layers)
    found = hooked_logits(model, {model.blocks[k]: lambda h, v=v: h + v for k, v in steps.items()})
    assert_close(found, logits(model, *adds), logits(model))


def test_a_control_vector_says_what_it_is(tmp_path, llama):
    gguf = pytest.importorskip("gguf")
    path = export.gguf(tmp_path / "v.gguf", *additions("resid_post.1", "resid_post.3", model=llama), model=llama)
    fields = gguf.GGUFReader(str(path)).fields
    said = {key: fields[key].contents() for key in ("general.architecture", "controlvector.model_hint")}
    assert said == {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
    assert fields["controlvector.layer_count"].contents() == 2


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("direction.0", np.ones(64, np.float32), "refuses the tensor 'direction.0'"),
        ("direction.one", np.ones(64, np.float32), "refuses the tensor 'direction.one'"),
        ("vector.1", np.ones(64, np.float32), "refuses the tensor 'vector.1'"),
        ("direction.1", np.ones(64, np.float16), "F16 of shape"),
        ("direction.1", np.ones((2, 32), np.float32), "of one dimension"),
        ("direction.9", np.ones(64, np.float32), "4 blocks"),
        ("direction.1", np.ones(32, np.float32), "32 entries"),
        ("direction.1", np.full(64, np.nan, np.float32), "finite"),
        (None, None, "holds no vector"),
    ],
)
def test_what_llama_cpp_refuses_is_refused(tmp_path, llama, name, data, match):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(tmp_path / "v.gguf"), "controlvector")
    if name is not None:
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(lens.LensError, match=match):
        export.read_gguf(tmp_path / "v.gguf", llama)


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(lens.ArtifactError, match=r"pip install 'behaviorlens\[export\]'"):
        export.gguf(tmp_path / "v.gguf", *additions("resid_post.1"))


def harness(model, path):
    """lm-evaluation-harness's rule: hooks on the modules of `base_model` that the file names, add or clamp."""
    config = torch.load(path, weights_only=True)
    changes = {}
    for name, module in model.hf.base_model.named_modules():
        if name in config:
            entry = config[name]
            assert entry["bias"] is None and entry["head_index"] is None
            vector, amount = entry["steering_vector"].to(model.dtype), float(entry["steering_coefficient"])
            unit = vector / vector.norm()
            changes[module] = {
                "add": lambda h, v=vector * amount: h + v,
                "clamp": lambda h, v=unit, a=amount: h + v * (a - (h * v).sum(dim=-1, keepdim=True)),
            }[entry["action"]]
    assert len(changes) == len(config)
    return changes


@pytest.mark.parametrize("family", [*tiny.FAMILIES, "opt", "bloom", "falcon", "gptneo"])
def test_the_harness_steers_as_the_interventions_do(tmp_path, models, family):
    model = models(family)
    adds = additions("resid_post.0", "resid_pre.2", "resid_post.3")
    clamp = steering.Clamp(direction("resid_post.2", seed=9), low=3.0, high=3.0, span="all")
    path = export.lm_eval(tmp_path / "steer.pt", model, *adds, clamp)
    assert_close(hooked_logits(model, harness(model, path)), logits(model, *adds, clamp), logits(model))
    assert_close(logits(model, *export.read_lm_eval(path, model)), logits(model, *adds, clamp), logits(model))


@pytest.mark.parametrize("site", ["attn_out.1", "mlp_out.2"])
def test_the_harness_steers_attention_and_mlp(tmp_path, model, site):
    adds = additions(site, "resid_post.1")
    path = export.lm_eval(tmp_path / "steer.pt", model, *adds)
    assert_close(hooked_logits(model, harness(model, path)), logits(model, *adds), logits(model))
    read = export.read_lm_eval(path, model)
    assert {str(one.direction.site) for one in read} == {site, "resid_post.1"}
    assert_close(logits(model, *read), logits(model, *adds), logits(model))


def test_hookpoints_are_paths_inside_the_base_model(tmp_path, models):
    wanted = {"gpt2": "h.1", "llama": "layers.1", "pythia": "layers.1", "opt": "decoder.layers.1", "bloom": "h.1"}
    for family, name in wanted.items():
        path = export.lm_eval(tmp_path / "steer.pt", models(family), *additions("resid_post.1"))
        assert list(torch.load(path, weights_only=True)) == [name]


def test_a_harness_file_of_others_is_read(tmp_path, llama):
    vector, bias = torch.randn(64), torch.randn(64)
    config = {
        "layers.1": {"action": "add", "steering_vector": vector.half(), "steering_coefficient": 3.0, "bias": None},
        "layers.2": {"action": "clamp", "steering_vector": 5 * vector, "steering_coefficient": 2.0, "bias": bias},
    }
    torch.save(config, tmp_path / "steer.pt")
    add, clamp = export.read_lm_eval(tmp_path / "steer.pt", llama)
    torch.testing.assert_close(add.strength * add.direction.vector, 3 * vector, rtol=1e-3, atol=1e-3)
    h = torch.randn(7, 64)
    unit = vector / vector.norm()
    inside = (h - bias) + unit * (2.0 - ((h - bias) * unit).sum(dim=-1, keepdim=True)) + bias
    torch.testing.assert_close(clamp(h), inside, rtol=1e-4, atol=1e-4)
    assert str(add.span) == str(clamp.span) == "all"
    for entry, match in (
        ({"head_index": 2}, "hookpoint 'layers.1', head 2"),
        ({"action": "scale"}, "unknown action 'scale'; available: add, clamp"),
    ):
        torch.save({"layers.1": config["layers.1"] | entry}, tmp_path / "steer.pt")
        with pytest.raises(lens.ArtifactError, match=match):
            export.read_lm_eval(tmp_path / "steer.pt", llama)
    torch.save({"layers.1.self_attn.q_proj": config["layers.1"]}, tmp_path / "steer.pt")
    with pytest.raises(
        lens.ArtifactError, match=r"hookpoint 'layers.1.self_attn.q_proj'.*available in llama: layers.0"
    ):
        export.read_lm_eval(tmp_path / "steer.pt", llama)


def clamp(**given):
    return steering.Clamp(direction("resid_post.1"), **({"low": 1.0, "high": 1.0, "span": "all"} | given))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: [clamp(high=2.0)], "clamps to one value, wholly; given: low=1.0, high=2.0"),
        (lambda: [clamp(strength=0.5)], "strength=0.5"),
        (lambda: [clamp(span="response")], "span 'response'"),
        (lambda: [clamp(), *additions("resid_post.1")], "two at 'layers.1', one a Clamp"),
        (lambda: [clamp(), clamp()], "two at 'layers.1', one a Clamp"),
        (lambda: [steering.Ablate(direction("resid_post.1"), to="zero", span="all")], "given: Ablate"),
        (lambda: additions("resid_pre.0"), "resid_pre.0 is no module's output in LlamaForCausalLM"),
        (lambda: additions("resid_mid.1"), "resid_mid.1 is no module's output"),
        (lambda: additions("resid_post.4"), "4 blocks"),
        (lambda: [], "Nothing to export"),
    ],
)
def test_what_the_harness_cannot_do_is_refused(tmp_path, llama, make, match):
    with pytest.raises(lens.LensError, match=match):
        export.lm_eval(tmp_path / "steer.pt", llama, *make())
    assert not list(tmp_path.iterdir())


def test_the_harness_knows_its_file_by_its_ending(tmp_path, llama):
    with pytest.raises(lens.ArtifactError, match=r"ends in .pt or .pth; given: 'steer.safetensors'"):
        export.lm_eval(tmp_path / "steer.safetensors", llama, *additions("resid_post.1"))


def test_the_harness_itself_steers_so(tmp_path, llama):
    """Where it is installed: its own class, on the saved model."""
    steered = pytest.importorskip("lm_eval.models.hf_steered")
    adds = additions("resid_post.0", "attn_out.2", "resid_post.2")
    path = export.lm_eval(tmp_path / "steer.pt", llama, *adds)
    model = steered.SteeredModel(
        pretrained=str(tiny.saved("llama")), steer_path=str(path), device="cpu", dtype="float32"
    )
    ids = torch.tensor([llama.rows(["the money that she lied about"])[0].ids])
    assert_close(model._model_call(ids)[0], logits(llama, *adds), logits(llama))


def test_transformer_lens_steers_as_the_additions_do(tmp_path, model):
    """Its own validator, list of hooks and operation; vLLM only runs them."""
    from transformer_lens.model_bridge.sources.vllm.intervention_specs import validate_spec
    from transformer_lens.model_bridge.sources.vllm.overlays import get_overlay
    from transformer_lens.model_bridge.sources.vllm.worker_extension import _apply_op

    adds = additions("resid_post.0", "resid_pre.2", "resid_post.3")
    path = export.transformer_lens(tmp_path / "spec.json", *adds, model=model)
    spec = json.loads(path.read_text(encoding="utf-8"))
    places = get_overlay("").capture_specs(model.hf.config)
    changes = {}
    for hook, one in spec.items():
        module, width = places[hook]
        valid = validate_spec(hook, one, width=width)
        changes[model.blocks[int(module.split(".")[-1])]] = lambda h, valid=valid: _apply_op(h, valid)
    assert list(spec) == ["blocks.0.hook_out", "blocks.1.hook_out", "blocks.3.hook_out"]
    assert_close(hooked_logits(model, changes), logits(model, *adds), logits(model))


def test_declared_numbers_are_exact(tmp_path, llama):
    (add,) = additions("resid_post.1")
    spec = json.loads(export.transformer_lens(tmp_path / "spec.json", add).read_text(encoding="utf-8"))
    assert torch.equal(torch.tensor(spec["blocks.1.hook_out"]["value"]), add(torch.zeros(64)))
    torch.testing.assert_close(add(torch.zeros(64)), step(add))


@pytest.mark.parametrize(
    ("hook", "one"),
    [
        ("blocks.1.hook_out", {"op": "set", "value": [1.0]}),
        ("blocks.1.hook_out", {"op": "add", "value": [1.0], "pos": 3}),
        ("blocks.1.attn.hook_out", {"op": "add", "value": [1.0]}),
    ],
)
def test_what_is_declared_otherwise_is_refused(tmp_path, hook, one):
    (tmp_path / "spec.json").write_text(json.dumps({hook: one}), encoding="utf-8")
    with pytest.raises(lens.ArtifactError, match=f"{hook}.*read here: blocks.LAYER.hook_out, op 'add', every position"):
        export.read_transformer_lens(tmp_path / "spec.json")


def test_a_direction_that_was_fitted_is_exported(tmp_path, llama):
    """From a probe to a file and back, in one unit."""
    fitted = Direction.from_vector(torch.randn(64), "resid_post.2", model=llama, difference=4.0)
    add = steering.Add(fitted, 0.5, unit="difference", span="all")
    (read,) = export.read_gguf(export.gguf(tmp_path / "v.gguf", add, model=llama), llama)
    assert read.strength == pytest.approx(2.0, rel=1e-6) and read.direction.cosine(fitted) == pytest.approx(1.0)
