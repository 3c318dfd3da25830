"""Surgery: rows that a probe points at, and what becomes of the behaviour when they are zeroed or opened."""

import contextlib
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from built import made
from surgery_data import EVEN, STRIKES, fitted

import lens
import steering
from lens.organisms import constructed
from lens.organisms.constructed.surgery import CHANCE, MEMBERS, ROWS


def probe(name, seed=None, method="mean_difference"):
    """Raw weights of the fitted probe."""
    return torch.tensor(fitted(name, seed, method).estimator.coef_[0]).float()


def cosines(name, vector):
    """Of every gate row of all blocks with the vector, by (layer, row)."""
    rows = torch.cat([block.mlp.gate_proj.weight for block in made(name)[0].hf.model.layers]).detach()
    index = pd.MultiIndex.from_product([range(4), range(256)])
    return pd.Series((rows @ vector / rows.norm(dim=1) / vector.norm()).numpy(), index=index)


@contextlib.contextmanager
def edited(name, rows, step):
    """Gate rows with a step added (None: set to zero)."""
    layers = made(name)[0].hf.model.layers
    before = [block.mlp.gate_proj.weight.detach().clone() for block in layers]
    with torch.no_grad():
        for layer, row in rows:
            own = layers[layer].mlp.gate_proj.weight[row]
            own.copy_(own + step if step is not None else torch.zeros_like(own))
        yield
        for block, old in zip(layers, before, strict=True):
            block.mlp.gate_proj.weight.copy_(old)


def rate(name, measure=STRIKES, **where):
    organism, model = made(name)
    rows = organism.examples.where(**({"ask": "act"} | where))
    return float(steering.effects(model, rows, measure, progress=False)["value"].mean())


def both(name):
    return rate(name, provoked=0), rate(name, provoked=1)


def planted(name, kind):
    structure = made(name)[0].truth.structure
    return [(structure["layer"], row) for row in structure[kind]]


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("seed", [1, 7])
def test_without_norms_the_truth_is_exact_whatever_the_seed(name, seed):
    table = constructed.build(name, seed=seed, norm="none").measure()
    assert table.loc[table["what"].str.startswith("rate"), "error"].max() < 1e-5
    assert table.loc[table["what"].str.startswith("effect"), "error"].max() < 2e-5
    chance = table["what"].str.contains("last of the lowest")
    assert table.loc[table["what"].str.contains("logit|row") & ~chance, "error"].max() < 2e-5


def test_a_fitted_probe_points_at_the_planted_rows_and_at_nothing_where_there_are_none():
    for name, aligned in (("surgery", 48), ("surgery-mixed", 96), ("surgery-dead", 48), ("surgery-random", 0)):
        found = cosines(name, probe(name)).nsmallest(max(aligned, ROWS))
        rows = {*planted(name, "causal"), *planted(name, "dead")}
        assert len(rows) == aligned and len(rows & set(found.index)) == aligned
        assert (found.max() < -0.7) if aligned else (found.max() == pytest.approx(CHANCE, abs=0.04))
    # On separable data a logistic probe leans on what the contexts happen to hold: it finds most of them.
    noisy = probe("surgery", method="logistic")
    hit = set(cosines("surgery", noisy).nsmallest(ROWS).index) & set(planted("surgery", "causal"))
    assert 36 <= len(hit) < ROWS


def test_zeroing_exactly_the_causal_rows_removes_the_restraint():
    calm, provoked = both("surgery")
    assert calm == pytest.approx(0.047, abs=0.01) and provoked > 0.95
    with edited("surgery", planted("surgery", "causal"), None):
        assert min(both("surgery")) > 0.94
    assert both("surgery") == (calm, provoked)
    others = [row for row in cosines("surgery", probe("surgery")).index if row not in planted("surgery", "causal")]
    with edited("surgery", others, None):
        assert both("surgery") == pytest.approx((calm, provoked), abs=1e-3)
    with edited("surgery-mixed", planted("surgery-mixed", "dead"), None):
        assert both("surgery-mixed") == pytest.approx((calm, provoked), abs=1e-3)


def test_opening_the_lowest_rows_calms_it_where_they_are_causal_and_only_there():
    """The careless look finds 48 rows turned against the direction in all three and stops there."""
    after = {}
    for name in MEMBERS:
        vector = probe(name)
        lowest = list(cosines(name, vector).nsmallest(ROWS).index)
        with edited(name, lowest, 3 * vector / vector.norm()):
            after[name] = rate(name, provoked=1)
            assert rate(name, provoked=0) < 0.07
            assert rate(name, EVEN, ask="even") == pytest.approx(0.953, abs=0.01)
    assert after["surgery"] < 0.01 and min(after["surgery-dead"], after["surgery-random"]) > 0.94
    # Half of the rows it takes are dead: logit 3 − 6 · ½ (silu(3) − .14)/silu(2), not −6.7.
    assert 0.05 < after["surgery-mixed"] < 0.3


def test_the_wrong_rows_and_a_probe_of_shuffled_labels_open_nothing():
    vector = probe("surgery")
    ranked = cosines("surgery", vector).sort_values()
    random = np.random.default_rng(0).choice(len(ranked) - ROWS, ROWS, replace=False) + ROWS
    for rows in (ranked.index[-ROWS:], ranked.index[random]):
        with edited("surgery", list(rows), 3 * vector / vector.norm()):
            assert rate("surgery", provoked=1) > 0.95
    changes = []
    for seed in range(5):
        shuffled = probe("surgery", seed=seed)
        with edited(
            "surgery", list(cosines("surgery", shuffled).nsmallest(ROWS).index), 3 * shuffled / shuffled.norm()
        ):
            changes.append(rate("surgery", provoked=1))
    assert np.median(changes) > 0.9


def test_the_first_steps_go_the_wrong_way():
    organism, _ = made("surgery", "none")
    unit = organism.truth.direction("provoked").tensor
    opened = pd.DataFrame(organism.truth.structure["opened"]).set_index("step")["provoked"]
    with_norms = []
    for step in opened.index:
        with edited("surgery", planted("surgery", "causal"), step * unit):
            p = rate("surgery", provoked=1)
        with_norms.append(np.log(p / (1 - p)))
    assert opened[0.0] < opened[0.5] < opened[1.0] and opened[1.5] > 0 > opened[2.5] > opened[4.0]
    # The RMS norm scales gates and outputs by a few per cent.
    assert np.allclose(with_norms, opened, rtol=0.1, atol=0.1)


def test_two_edits_of_rows_chosen_beforehand_commute():
    provoked = cosines("surgery", probe("surgery")).nsmallest(ROWS).index
    vectors = [probe("surgery"), made("surgery")[0].truth.direction("number").tensor]
    chosen = [list(provoked), list(cosines("surgery", vectors[1]).nsmallest(ROWS).index)]
    results = []
    for order in ((0, 1), (1, 0)):
        with (
            edited("surgery", chosen[order[0]], vectors[order[0]]),
            edited("surgery", chosen[order[1]], vectors[order[1]]),
        ):
            results.append(
                [block.mlp.gate_proj.weight.detach().clone() for block in made("surgery")[0].hf.model.layers]
            )
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s["causal"].reverse(), "cosine of causal gate row"),
        (lambda s: s["causal"].pop(), "number of causal rows is 48.0+, not 47"),
        (lambda s: s.update(cutoff=-0.5), "last of the lowest rows is -0.84"),
        (lambda s: s["zeroed"]["dead"].update(calm=3.0), "calm logit, dead rows zeroed is -2.8"),
        (lambda s: s["opened"][3].update(provoked=9.0), "1.5 added to the lowest rows"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(change, says):
    organism, _ = made("surgery-mixed")
    digest = organism.truth.weights
    structure = dataclasses.asdict(organism.truth)["structure"]
    change(structure)
    wrong = dataclasses.replace(organism, truth=dataclasses.replace(organism.truth, structure=structure))
    with pytest.raises(lens.ModelError, match=says):
        wrong.check()
    organism.check()
    assert constructed.digest(organism.hf) == digest
