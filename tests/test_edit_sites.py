"""Edits at one site: a bias added, an eraser folded in. Each is what the intervention at that site does."""

import pandas as pd
import pytest
import tiny
import torch
from edited import PLAIN, changed, direction, fresh, is_as, logits, state
from hypothesis import given, settings
from hypothesis import strategies as st

import lens
import probes
import steering
from lens import ArtifactError, ModelError, SiteError
from steering import Add, AddBias, EraseWeights, edit

SITES = ("attn_out.1", "mlp_out.2", "resid_post.0")


def labelled(n=40):
    """Texts of two kinds."""
    words = ["quick", "brown", "fox", "money", "maybe", "that", "about", "lied"]
    texts = [f"the {words[k % 8]} {'yes' if k % 2 else 'no'} {words[(k * 3) % 8]}" for k in range(n)]
    return lens.Examples(pd.DataFrame({"prompt": texts, "label": [k % 2 for k in range(n)], "group": range(n)}))


def eraser(model, site, method="leace"):
    acts = lens.collect(model, labelled(), sites=[site], span="prompt", progress=False)
    return probes.erase(acts, site, method)


def differ(one, other):
    return float((one - other).abs().max() / other.std())


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", PLAIN)
def test_a_bias_equals_adding_at_its_site(family, site):
    model, d = fresh(family), direction(site=site)
    before, plain = state(model), logits(model)
    with steering.apply(model, Add(d, 3.0, unit="raw", span="all")):
        hooked = logits(model)
    done = edit(model, AddBias(d, 3.0, unit="raw"))
    assert differ(logits(model), hooked) < 1e-4 < differ(plain, hooked)
    assert done.exact and changed(model, before) == done.parameters and done.parameters[0].endswith("bias")
    done.undo()
    assert is_as(model, before)


def test_a_bias_reaches_the_stream_where_the_mlp_is_no_separate_place():
    model, d = fresh("opt"), direction()
    with steering.apply(model, Add(d, 3.0, unit="raw", span="all")):
        hooked = logits(model)
    with edit(model, AddBias(d, 3.0, unit="raw")):
        assert differ(logits(model), hooked) < 1e-4


@settings(max_examples=12)
@given(
    strength=st.floats(-5, 5),
    unit=st.sampled_from(["norm", "difference", "raw"]),
    family=st.sampled_from(["llama", "gpt2"]),
    site=st.sampled_from(SITES),
)
def test_strength_and_unit_are_those_of_add(strength, unit, family, site):
    d = direction(site=site, residual_norm=3.0, difference=0.5)
    model = fresh(family)
    before = state(model)
    bias = AddBias(d, strength, unit=unit)
    added = Add(d, strength, unit=unit)(torch.zeros(64))
    with edit(model, bias) as done:
        name = done.parameters[0]
        was = before["tensors"].get(name, torch.zeros(64))
        assert torch.allclose(state(model)["tensors"][name] - was, added, atol=1e-6)
    assert is_as(model, before)


def test_adding_and_taking_away_is_nothing_and_biases_stack_in_any_order():
    model, d, other = fresh("llama"), direction(0), direction(1)
    plain = logits(model)
    with edit(model, AddBias(d, 2.0, unit="raw")), edit(model, AddBias(d, -2.0, unit="raw")):
        assert differ(logits(model), plain) < 1e-5
    found = []
    for order in ((d, other), (other, d)):
        with edit(model, AddBias(order[0], unit="raw")), edit(model, AddBias(order[1], unit="raw")):
            found.append(logits(model))
    assert torch.allclose(*found, atol=1e-5)
    assert torch.equal(logits(model), plain)


@pytest.mark.parametrize(
    ("family", "method"),
    [*((family, "leace") for family in PLAIN), ("gpt2", "mean_projection"), ("llama", "mean_projection"),
     ("gpt2", "inlp"), ("llama", "inlp")],
)  # fmt: skip
def test_erased_weights_equal_the_eraser_at_its_site(family, method):
    model = fresh(family)
    for site in ("attn_out.1", "mlp_out.2"):
        fitted = eraser(model, site, method)
        before, plain = state(model), logits(model)
        with steering.apply(model, steering.Erase(fitted, span="all")):
            hooked = logits(model)
        done = edit(model, EraseWeights(fitted))
        assert differ(logits(model), hooked) < 1e-4 < differ(plain, hooked)
        assert done.exact and len(done.parameters) == 2 and set(changed(model, before)) == set(done.parameters)
        done.undo()
        assert is_as(model, before)


def test_after_the_edit_no_probe_tells_the_classes_at_the_site():
    model = fresh("llama")
    fitted = eraser(model, "mlp_out.1")
    read = {"sites": ["mlp_out.1"], "span": "prompt", "progress": False}
    told = probes.fit(lens.collect(model, labelled(), **read), "mlp_out.1")
    assert told.direction.difference > 0.1
    with edit(model, EraseWeights(fitted)):
        acts = lens.collect(model, labelled(), **read)["mlp_out.1"]
    labels = torch.tensor(labelled().labels)
    assert float((acts[labels == 1].mean(dim=0) - acts[labels == 0].mean(dim=0)).norm()) < 1e-4


REFUSED = [
    (lambda m: EraseWeights(eraser(m, "resid_post.1")), SiteError, "No weights erase at resid_post.1.*skip connection"),
    (lambda m: EraseWeights(eraser(m, "resid_pre.2")), SiteError, "begins with a norm.*attn_out, mlp_out"),
    (lambda m: AddBias(direction(site="resid_pre.2"), unit="raw"), SiteError, "No bias reaches resid_pre.2"),
    (lambda m: AddBias(direction(), unit="raw", site="resid_mid.1"), SiteError, "No bias reaches resid_mid.1"),
    (lambda m: AddBias(direction(), unit="raw", site="mlp_out.9"), SiteError, "4 blocks"),
    (lambda m: AddBias(direction()), ArtifactError, "does not know its unit"),
    (lambda m: AddBias(direction(), float("nan"), unit="raw"), ArtifactError, "one finite strength"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_no_weights_can_do_is_refused_by_name(number):
    make, kind, says = REFUSED[number]
    model = fresh("llama")
    before = state(model)
    with pytest.raises(kind, match=says):
        edit(model, make(model))
    assert is_as(model, before)


@pytest.mark.parametrize("family", tiny.POST_NORM)
@pytest.mark.parametrize("site", ["attn_out.1", "mlp_out.1", "resid_post.1"])
def test_behind_a_norm_no_bias_and_no_eraser_is_written(family, site):
    model = fresh(family)
    before = state(model)
    with pytest.raises(ModelError, match=r"normalises what .* writes \(\w+RMSNorm\)"):
        edit(model, AddBias(direction(site=site), unit="raw"))
    if not site.startswith("resid"):
        with pytest.raises(ModelError, match="normalises what"):
            edit(model, EraseWeights(eraser(model, site)))
    assert is_as(model, before)


@pytest.mark.parametrize("family", tiny.EXPERTS)
def test_experts_write_no_bias_but_attention_beside_them_does(family):
    model = fresh(family)
    before = state(model)
    with pytest.raises(ModelError, match="no plain writing matrix for its MLP"):
        edit(model, AddBias(direction(), unit="raw"))
    with edit(model, AddBias(direction(site="attn_out.1"), unit="raw")):
        pass
    assert is_as(model, before)


@pytest.mark.parametrize("make", [lambda m: AddBias(direction(site="mlp_out.1"), 3.0, unit="raw"),
                                  lambda m: EraseWeights(eraser(m, "mlp_out.1"))], ids=["bias", "erase"])  # fmt: skip
def test_a_writer_whose_output_is_scaled_afterwards_is_noticed(make, monkeypatch):
    """As where a model multiplies what its MLP writes: the bias would be multiplied too."""
    model = fresh("llama")
    mlp = model.blocks[1].mlp
    forward = mlp.forward
    monkeypatch.setattr(mlp, "forward", lambda x: 3 * forward(x))
    before = state(model)
    with pytest.raises(ModelError, match=r"differs by .* from what \w+ at the site makes.*undone"):
        edit(model, make(model))
    assert is_as(model, before)


def test_edits_that_do_not_add_up_are_refused_and_those_that_do_are_not():
    model = fresh("llama")
    bias, away = AddBias(direction(site="mlp_out.1"), unit="raw"), EraseWeights(eraser(model, "mlp_out.1"))
    with edit(model, bias):
        with pytest.raises(ModelError, match="down_proj is already edited by bias"):
            edit(model, away)
        with edit(model, AddBias(direction(1, site="mlp_out.1"), unit="raw")), edit(model, away, stack=True):
            pass
        with pytest.raises(ModelError, match="already in force"):
            edit(model, bias)
    with edit(model, away), pytest.raises(ModelError, match="already edited by erase"):
        edit(model, steering.Orthogonalize(direction()))
    with edit(model, away), edit(model, EraseWeights(eraser(model, "mlp_out.2"))):
        pass
