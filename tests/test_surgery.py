"""steering.Surgery: exactly the rows it says, of every family; what cannot be operated on is refused by name."""

import functools
import warnings

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from edited import GATED, changed, direction, fresh, is_as, logits, state
from hypothesis import given, settings
from hypothesis import strategies as st

import lens
import probes
from lens import ArtifactError, ModelError
from probes import Direction
from steering import Surgery, edit

pytestmark = pytest.mark.filterwarnings("ignore:The cut-off cosine")


def gates(model):
    """Every gate row, [layers, rows, d]."""
    fused = hasattr(model.blocks[0].mlp, "gate_up_proj")
    weights = [b.mlp.gate_up_proj.weight[:128] if fused else b.mlp.gate_proj.weight for b in model.blocks]
    return torch.stack([weight.detach() for weight in weights])


@pytest.mark.parametrize("family", GATED)
def test_exactly_the_chosen_rows_change_each_by_alpha_w(family):
    model, d = fresh(family), direction()
    w = 2.5 * d.vector
    before, rows = state(model), gates(model)
    done = edit(model, Surgery(w, rows=30, alpha=0.7))
    moved = gates(model) - rows
    touched = (moved != 0).any(dim=-1)
    assert int(touched.sum()) == 30 == done.table()["rows"].sum()
    assert set(map(tuple, done.details["rows"])) == {tuple(pair) for pair in touched.nonzero().tolist()}
    assert torch.allclose(moved[touched], (0.7 * w).expand(30, -1), atol=1e-6)
    gate = "gate_up_proj" if family == "phi3" else "gate_proj"
    assert all(name.endswith(f"mlp.{gate}.weight") for name in changed(model, before))
    assert not done.exact and "30 of 512 gate rows" in done.note
    done.undo()
    assert is_as(model, before)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 512),
    scale=st.floats(1e-3, 1e3),
    order=st.sampled_from(["lowest", "highest"]),
    layers=st.sampled_from([None, [0], [1, 3]]),
)
def test_selection_is_the_brute_force_one_and_knows_no_scale(seed, rows, scale, order, layers):
    model = _llama()
    w = direction(seed).vector
    among = layers or range(4)
    rows = min(rows, 128 * len(among))
    found = Surgery(w, rows=rows, order=order, layers=layers).select(model)
    cosine = torch.nn.functional.cosine_similarity(gates(model).double(), w.double(), dim=-1)
    ranked = sorted((float(cosine[layer, row]), layer, row) for layer in among for row in range(128))
    ranked = ranked if order == "lowest" else ranked[::-1]
    assert found.pairs == {(layer, row) for _, layer, row in ranked[:rows]}
    assert found.cutoff == pytest.approx(ranked[rows - 1][0]) and found.of == len(ranked)
    assert Surgery(scale * w, rows=rows, order=order, layers=layers).select(model).pairs == found.pairs


@functools.cache
def _llama():
    return fresh("llama")


def test_alpha_zero_changes_nothing_and_a_share_is_a_number_of_rows():
    model = fresh("llama")
    before, plain = state(model), logits(model)
    with edit(model, Surgery(direction().vector, rows=0.0465, alpha=0.0)) as done:
        assert torch.equal(logits(model), plain) and changed(model, before) == []
        assert len(done.details["rows"]) == round(0.0465 * 512)


def test_the_raw_row_is_the_probes_own_coefficients_in_the_stream():
    model = _llama()
    texts = [f"the {'quick' if k % 2 else 'brown'} {word}" for k, word in enumerate(["fox", "money", "yes", "no"] * 6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = lens.Examples(pd.DataFrame({"prompt": texts, "label": [k % 2 for k in range(24)]}))
        acts = lens.collect(model, table, sites=["resid_post.3"], span="prompt", pool="mean", progress=False)
    fitted = probes.fit(acts, "resid_post.3", probes.Logistic(standardise=True))
    w = torch.from_numpy(fitted.estimator.coef_[0])
    h = acts["resid_post.3"].double()
    assert torch.allclose(h @ w + fitted.estimator.intercept_[0], fitted.direction.score(h.float()).double(), atol=1e-4)
    one, other = fresh("llama"), fresh("llama")
    edit(one, Surgery(fitted.direction, rows=9, alpha=0.5))
    edit(other, Surgery(fitted.estimator.coef_[0], rows=9, alpha=0.5))
    assert torch.allclose(gates(one), gates(other), atol=1e-6)


def test_of_a_fused_matrix_the_first_half_is_the_gate():
    """The formula by hand, with the gate row of one neuron moved."""
    model, w = fresh("phi3"), direction().vector
    mlp = model.blocks[2].mlp
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(3))
    both = mlp.gate_up_proj.weight.detach()
    for matrix, half in (("gate", 0), ("up", 1)):
        parts = [both[:128].clone(), both[128:].clone()]
        chosen = Surgery(w, rows=7, matrix=matrix, layers=[2]).select(model).rows[2]
        parts[half][chosen] += 2 * w
        with edit(model, Surgery(w, rows=7, alpha=2.0, matrix=matrix, layers=[2])), torch.no_grad():
            expected = mlp.down_proj(torch.nn.functional.silu(x @ parts[0].T) * (x @ parts[1].T))
            assert torch.allclose(mlp(x), expected, atol=1e-4)


REFUSED = {
    "gpt2": "no gate.*c_fc, c_proj",
    "pythia": "no gate.*dense_h_to_4h",
    "opt": "no gate",
    "mixtral": "fused experts",
    "gptoss": "fused experts",
}


@pytest.mark.parametrize("family", REFUSED)
def test_mlps_without_gates_or_of_experts_are_refused_by_name(family):
    model = fresh(family)
    before = state(model)
    with pytest.raises(ModelError, match=f"{type(model.hf).__name__}.*{REFUSED[family]}"):
        edit(model, Surgery(direction().vector))
    assert is_as(model, before)


def test_a_gate_that_is_not_used_as_one_is_refused(monkeypatch):
    model = fresh("llama")
    mlp = model.blocks[1].mlp
    monkeypatch.setattr(mlp, "forward", lambda x: mlp.down_proj(mlp.gate_proj(x) * mlp.act_fn(mlp.up_proj(x))))
    with pytest.raises(ModelError, match=r"layers.1.mlp does not compute down\(act\(gate\) · up\)"):
        edit(model, Surgery(direction().vector))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rows": 0}, "a number from 1 to 512"),
        ({"rows": 513}, "a number from 1 to 512"),
        ({"rows": 1.5}, "share of them between 0 and 1"),
        ({"alpha": float("inf")}, "alpha is finite"),
        ({"layers": [4]}, "Blocks 4 are not there.*0 to 3"),
        ({"layers": []}, "names no block"),
        ({"probe": torch.zeros(64)}, "finite, non-zero row"),
        ({"probe": torch.ones(32)}, "width 32"),
        ({"probe": Direction.from_vector(torch.ones(64), "resid_post.9")}, "4 blocks"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, says):
    model = fresh("llama")
    before = state(model)
    with pytest.raises(lens.LensError, match=says):
        edit(model, Surgery(**{"probe": direction().vector} | settings))
    assert is_as(model, before)


def test_a_direction_of_another_model_is_refused(models):
    foreign = Direction.from_vector(torch.ones(64), "resid_post.1", model=models("gpt2"))
    with pytest.raises(ArtifactError, match="other_model=True"):
        edit(fresh("llama"), Surgery(foreign))


def test_tiny_models_of_every_family_are_gated_or_refused():
    """So that a family added to the tests is looked at here too."""
    assert set(GATED) | set(REFUSED) | {"falcon", "gptneo", "gptj", "bloom"} == set(tiny.ALL_FAMILIES)


def test_the_chance_of_a_cut_off_is_that_of_random_rows():
    model = _llama()
    cutoffs = [Surgery(direction(seed).vector, rows=48).select(model) for seed in range(200)]
    z = np.array([one.excess for one in cutoffs])
    assert abs(z.mean()) < 0.35 and 0.7 < z.std() < 1.4
    mirrored = Surgery(-direction().vector, rows=48, order="highest").select(model)
    assert mirrored.pairs == cutoffs[0].pairs and mirrored.excess == pytest.approx(cutoffs[0].excess)
    assert (mirrored.cutoff, mirrored.chance) == pytest.approx((-cutoffs[0].cutoff, -cutoffs[0].chance))
    assert np.isnan(Surgery(direction().vector, order="random").select(model).excess)
