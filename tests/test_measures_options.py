"""Expected values over scored options: the sum by hand, every order of the options, and a position bias that averages
out."""

import itertools
from inspect import unwrap

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

import lens
import steering
from lens.organisms import constructed
from lens.tokens import encode
from probes import Direction
from steering import measures
from steering.effects import effects

SCALE = {"always": 5, "often": 4, "sometimes": 3, "seldom": 2, "never": 1}
SCORES = {" yes": 3.0, " maybe": 2.0, " no": 1.0}


@pytest.fixture(scope="module")
def table():
    return lens.Examples(pd.DataFrame({"prompt": tiny.TEXTS, "item": ["a", "b", "c", "d", "e"], "group": range(5)}))


@pytest.fixture(scope="module")
def direction():
    return Direction.from_vector(torch.randn(64, generator=torch.Generator().manual_seed(0)), "resid_post.1")


def asked(row, options):
    return f"{row['prompt']} {row['item']} :{''.join(options)}"


def by_hand(model, prompt, answers):
    """p over the answers alone, and their mass."""
    ids = encode(model.tokenizer, prompt).ids
    with torch.no_grad():
        p = model.hf(torch.tensor([ids])).logits[0, -1].double().softmax(dim=-1)
    tokens = [encode(model.tokenizer, prompt, answer).ids[len(ids)] for answer in answers]
    mass = p[tokens].sum()
    return (p[tokens] / mass).numpy(), float(mass)


def test_the_rows_own_prompt_is_asked_once(gpt2, table):
    got = effects(gpt2, table, measures.expected_value(SCORES))
    for row, prompt in enumerate(table.prompts):
        share, mass = by_hand(gpt2, prompt, list(SCORES))
        assert got["value"][row] == pytest.approx(share @ [3, 2, 1], abs=1e-4)
        assert got["coherence"][row] == pytest.approx(mass, rel=1e-3)


ORDERS = {
    "reversed": [(0, 1, 2), (2, 1, 0)],
    "rotations": [(0, 1, 2), (1, 2, 0), (2, 0, 1)],
    "all": list(itertools.permutations(range(3))),
}


@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("letters", [None, (" the", " quick", " fox")], ids=["words", "letters"])
def test_each_order_is_asked_and_their_mean_taken(gpt2, table, orders, letters):
    measure = measures.expected_value(SCORES, prompt=asked, orders=orders, letters=letters)
    got = effects(gpt2, table, measure, batch_tokens=64)
    for number, row in enumerate(table.frame.to_dict("records")):
        found = []
        for order in ORDERS[orders]:
            options = [list(SCORES)[k] for k in order]
            share, mass = by_hand(gpt2, asked(row, options), letters or options)
            found.append((share @ [SCORES[one] for one in options], mass))
        value, mass = np.mean(found, axis=0)
        assert got["value"][number] == pytest.approx(value, abs=1e-4)
        assert got["coherence"][number] == pytest.approx(mass, rel=1e-3)


def test_each_row_is_steered_by_its_own_strength_in_all_its_orders(llama, table, direction):
    measure, strength = measures.expected_value(SCORES, prompt=asked), [3.0, -3.0, 0.0, 6.0, 1.0]
    together = effects(llama, table, measure, steering.Add(direction, strength, unit="raw"), kl=True)
    for row, one in enumerate(strength):
        alone = effects(llama, table.select([row]), measure, steering.Add(direction, one, unit="raw"), kl=True)
        assert together.loc[row].to_numpy() == pytest.approx(alone.loc[0].to_numpy(), abs=1e-4)
    plain = effects(llama, table, measure)["value"]
    assert ((together["value"] - plain).abs() > 1e-3).tolist() == [True, True, False, True, True]


def test_a_reverse_keyed_item_is_turned_round(gpt2, table):
    keyed = lens.Examples(table.frame.assign(key=[1, -1, 1, -1, 1]))
    plain = effects(gpt2, keyed, measures.expected_value(SCORES))["value"].to_numpy()
    got = effects(gpt2, keyed, measures.expected_value(SCORES, key="key"))["value"].to_numpy()
    assert got == pytest.approx(np.where(keyed.frame["key"] == 1, plain, 4 - plain))
    with pytest.raises(lens.DataError, match=r"the key 'item' is '.'; it is 1, or −1"):
        effects(gpt2, keyed, measures.expected_value(SCORES, key="item"))


def test_averaging_over_orders_removes_a_preference_for_the_first():
    """selfreport-position: the option printed first wins at every level of the trait."""
    organism = constructed.build("selfreport-position")
    model = lens.wrap(organism.hf, organism.tokenizer, name="selfreport-position")
    rows = organism.examples.where(ask="rate", persona=1)
    known = {(one["trait"], one["key"], one["order"]): one["rating"] for one in organism.truth.structure["ratings"]}

    def turned(row, options):
        return row["prompt"].replace(row["options"], " ".join(options))

    once = effects(model, rows, measures.expected_value(SCALE))["value"].to_numpy()
    both = effects(model, rows, measures.expected_value(SCALE, prompt=turned))["value"].to_numpy()
    frame = rows.frame.assign(once=once, both=both)
    for row in frame.to_dict("records"):
        here, there = (known[row["trait"], row["key"], order] for order in (row["order"], -row["order"]))
        assert row["once"] == pytest.approx(here, abs=0.05)
        assert row["both"] == pytest.approx((here + there) / 2, abs=0.05)
    order = frame.groupby("order")[["once", "both"]].mean().diff().iloc[1]
    assert order["once"] > 1.0 and abs(order["both"]) < 1e-3
    # What is left is the trait, for an item of each key in its own direction.
    for key in (1, -1):
        level = frame[frame["key"] == key].groupby("trait")["both"].mean()
        assert key * (level[1] - level[-1]) > 0.3 and abs(level[0] - 3) < 0.05


def test_a_measure_of_several_prompts_refuses_rows_that_were_not_asked(gpt2):
    measure = measures.expected_value(SCORES, prompt=asked)
    rows = [{"prompt": "was that", "item": "a"}]
    variants, owner = measure.asked(rows * 2)
    assert owner.tolist() == [0, 0, 1, 1] and [row["prompt"] for row in variants[:2]] != ["was that"] * 2
    logits = torch.zeros(2, len(gpt2.tokenizer))
    with pytest.raises(lens.DataError, match="give it the rows of measure"):
        measure(measures.Outcome(gpt2, rows * 2, logits=logits))
    assert measure(measures.Outcome(gpt2, variants[:2], logits=logits)) == pytest.approx(2.0)


def test_bad_options_are_refused(gpt2, table):
    with pytest.raises(lens.DataError, match="At least two options"):
        measures.expected_value({"yes": 1})
    with pytest.raises(lens.DataError, match="each with a letter"):
        measures.expected_value(SCORES, letters="AB")
    with pytest.raises(lens.DataError, match="Unknown orders 'random'; available: reversed, rotations, all"):
        unwrap(measures.expected_value)(SCORES, orders="random")
    with pytest.raises(lens.DataError, match=r"Row 0: of the options .* begin with the same token"):
        effects(gpt2, table, measures.expected_value({" yes": 1, " yes indeed": 2}))


@pytest.mark.filterwarnings("ignore:Only 5 groups")
def test_a_dose_curve_asks_every_order_and_measures_that_run_the_model(llama, table, direction):
    for measure in (measures.expected_value(SCORES, prompt=asked), measures.kl()):
        curve = steering.dose_response(
            llama, direction, table, measure, strengths=(0.0, 4.0), unit="raw", random_draws=0, progress=False
        )
        for strength in (0.0, 4.0):
            alone = effects(llama, table, measure, steering.Add(direction, strength, unit="raw"))["value"].mean()
            assert curve.set_index("strength").loc[strength, "value"] == pytest.approx(alone, abs=1e-4)
