"""steering.Surgery on organisms: where rows were planted they are found and matter, elsewhere they do not."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from built import made
from edited import direction, is_as, state
from surgery_data import EVEN, STEP, STRIKES, operate, probe

import steering
from lens import ModelError
from lens.organisms.constructed.surgery import CHANCE, MEMBERS, ROWS
from steering import Surgery, edit

pytestmark = pytest.mark.filterwarnings("ignore:The cut-off cosine")


def planted(name, kind):
    structure = made(name)[0].truth.structure
    return {(structure["layer"], row) for row in structure[kind]}


def rate(name, measure=STRIKES, **where):
    organism, model = made(name)
    rows = organism.examples.where(**({"ask": "act", "provoked": 1} | where))
    return float(steering.effects(model, rows, measure, progress=False)["value"].mean())


def test_the_planted_rows_are_found_all_of_them_and_half_where_as_many_are_dead():
    for name, causal, dead in (("surgery", 48, 0), ("surgery-dead", 0, 48), ("surgery-random", 0, 0)):
        found = operate(name).select(made(name)[1])
        assert len(found.pairs & planted(name, "causal")) == causal and len(found.pairs & planted(name, "dead")) == dead
    mixed = Surgery(probe("surgery-mixed"), rows=2 * ROWS).select(made("surgery-mixed")[1])
    assert mixed.pairs == planted("surgery-mixed", "causal") | planted("surgery-mixed", "dead")


@pytest.mark.parametrize("name", MEMBERS)
def test_the_cut_off_stands_out_only_where_rows_were_planted(name):
    organism, model = made(name)
    found = Surgery(organism.truth.direction("provoked").tensor, rows=ROWS).select(model)
    assert found.chance == pytest.approx(CHANCE, abs=0.003)
    assert found.cutoff == pytest.approx(organism.truth.structure["cutoff"], abs=0.04)
    assert abs(found.excess) < 5 if name == "surgery-random" else found.excess > 50


def test_a_probe_that_points_at_no_region_is_told():
    with pytest.warns(UserWarning, match=r"what random rows would have \(-0\.2\d+\).*no region"):
        edit(made("surgery-random")[1], operate("surgery-random")).undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edit(made("surgery")[1], operate("surgery")).undo()


def test_opened_rows_calm_it_where_they_are_causal_and_only_there():
    after = {}
    for name in MEMBERS:
        with edit(made(name)[1], operate(name)):
            after[name] = rate(name)
            assert rate(name, EVEN, ask="even", provoked=0) == pytest.approx(0.953, abs=0.01)
    assert after["surgery"] < 0.01 and min(after["surgery-dead"], after["surgery-random"]) > 0.94
    assert 0.05 < after["surgery-mixed"] < 0.3


@pytest.mark.parametrize("order", ["highest", "random"])
def test_the_wrong_rows_open_nothing(order):
    plain = rate("surgery")
    found = Surgery(probe("surgery"), rows=ROWS).select(made("surgery")[1]).pairs
    wrong = operate("surgery", order=order, layers=(0, 1, 3) if order == "random" else None)
    assert not wrong.select(made("surgery")[1]).pairs & found
    with edit(made("surgery")[1], wrong):
        assert rate("surgery") == pytest.approx(plain, abs=1e-3)


def test_probes_of_shuffled_labels_do_no_more_than_random_ones():
    """Medians, as a shuffled probe may by chance lie along the planted one."""
    _, model = made("surgery")
    plain, shuffled, random = rate("surgery"), [], []
    for seed in range(5):
        with edit(model, operate("surgery", seed)):
            shuffled.append(abs(rate("surgery") - plain))
        with edit(model, Surgery(STEP * direction(seed).vector, rows=ROWS)):
            random.append(abs(rate("surgery") - plain))
    with edit(model, operate("surgery")):
        assert abs(rate("surgery") - plain) > 0.9
    assert np.median(shuffled) < 0.05 and np.median(random) < 0.05


def test_the_first_steps_go_the_wrong_way_and_by_as_much_as_planted():
    """SiLU dips: where the gates are far below zero, opening them a little first closes them more."""
    organism, model = made("surgery", "none")
    unit = organism.truth.direction("provoked").tensor
    opened = pd.DataFrame(organism.truth.structure["opened"]).set_index("step")["provoked"]
    found = []
    for step in opened.index:
        with edit(model, Surgery(unit, rows=ROWS, alpha=float(step))):
            rows = organism.examples.where(ask="act", provoked=1)
            p = steering.effects(model, rows, STRIKES, progress=False)["value"].to_numpy()
            found.append(float(np.log(p / (1 - p)).mean()))
    assert np.allclose(found, opened, atol=0.15, rtol=0.1)
    assert found[0] < found[1] < found[2] and found[3] > 0 > found[5] > found[7]


def test_edits_selected_on_the_original_weights_commute():
    organism, model = made("surgery")
    before = state(model)
    changes = []
    for row in (probe("surgery"), organism.truth.direction("number").tensor):
        chosen = Surgery(row, rows=ROWS).select(model)
        changes.append(Surgery(row, rows=chosen, alpha=0.8))
    found = []
    for order in (changes, changes[::-1]):
        with edit(model, order[0]), edit(model, order[1]):
            found.append(torch.stack([block.mlp.gate_proj.weight.detach().clone() for block in model.blocks]))
    assert torch.allclose(*found, atol=1e-6)
    assert is_as(model, before)
    # Selected one after the other they need not be the same: the first edit has turned rows.
    with edit(model, changes[0]):
        again = Surgery(probe("surgery"), rows=ROWS).select(model)
    assert again.pairs != changes[0].select(model).pairs


def test_the_same_surgery_twice_is_refused_unless_stacked():
    _, model = made("surgery")
    before = state(model)
    with edit(model, operate("surgery")):
        with pytest.raises(ModelError, match="already in force"):
            edit(model, operate("surgery"))
        with edit(model, operate("surgery"), stack=True) as again:
            assert again.name.endswith("#2")
    assert is_as(model, before)
