"""The parts of the study of personality: inventories, missing answers, reliability, and what chance does."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from personality_data import items, short
from scipy import stats

from lens import DataError
from steering.studies.personality import (
    administrations,
    chance,
    cronbach_alpha,
    forms,
    holding,
    reliability,
)
from steering.studies.personality.answering import judge_cells, keyed, ratings
from steering.studies.personality.parting import part_claim
from steering.studies.personality.reliability import order_gaps


def cells(share, mass=None, *, asked=None, templates=1):
    """Answers with these option probabilities, [items × orders, options] of one text."""
    asked = asked or short()
    index = np.indices((1, templates, len(asked), 2)).reshape(4, -1).T
    rows = pd.DataFrame(index, columns=["text", "template", "item", "order"])
    mass = np.ones(len(rows)) if mass is None else mass
    return judge_cells(rows, asked, np.asarray(share, dtype=float), mass).assign(by="next token")


def test_expected_values_entropy_and_mass_by_hand():
    share = np.tile([0.5, 0.3, 0.2], (16, 1))
    table = cells(share)
    assert table["ev"].to_numpy() == pytest.approx(2.3) and (table["likeliest"] == 3).all()
    assert table["entropy"].to_numpy() == pytest.approx(stats.entropy([0.5, 0.3, 0.2]))
    score = keyed(ratings(table, short()), short())[0]
    assert score == pytest.approx(np.where(short().items["key"] == 1, 2.3, 1.7))


def test_answers_that_are_none_are_missing_and_counted():
    asked = short()
    share, mass = np.tile([0.5, 0.3, 0.2], (16, 1)), np.ones(16)
    mass[0] = 0.05
    # All of the second trait is answered yes, whatever is asked.
    share[8:] = [0.998, 0.001, 0.001]
    table = cells(share, mass)
    assert table["missing"].tolist() == ["mass", *[""] * 7, *["lock"] * 8]
    values = ratings(table, asked)[0]
    # Half of an average over orders is a bias: the item is missing as a whole.
    assert np.isnan(values).tolist() == [True, *[False] * 3, *[True] * 4]
    report = reliability(table, asked).set_index("trait")
    assert report["missing"].to_dict() == {"calm": 1, "brave": 8} and report["locked"].to_dict() == {
        "calm": 0,
        "brave": 8,
    }
    assert np.isnan(report.loc["brave", "score"]) and report.loc["calm", "score"] == pytest.approx(
        (2.3 + 1.7 + 1.7) / 3
    )
    # One that weighs now and then is no lock.
    share[8] = [0.5, 0.3, 0.2]
    assert (cells(share)["missing"] == "").all()


def test_position_agreement_and_wording_are_told_apart():
    asked = short(templates=("she {item}: {options}", "he {item}: {options}"))
    first, second = np.array([0.8, 0.1, 0.1]), np.array([0.2, 0.1, 0.7])
    by_order = cells(np.tile([first, second], (16, 1)), asked=asked, templates=2)
    gaps = order_gaps(by_order, asked)
    assert gaps == pytest.approx(2.7 - 1.5)
    report = reliability(by_order, asked)
    assert report["order_gap"].to_numpy() == pytest.approx(1.2) and report["agreement"].to_numpy() == pytest.approx(0.1)
    assert (report["order_p"] < 0.15).all() and report["template_gap"].to_numpy() == pytest.approx(0.0)
    turned = short(scale={"no": 1.0, "maybe": 2.0, "yes": 3.0}, templates=asked.templates)
    # The same answers where the low end is printed first: now the second order is the higher one.
    assert order_gaps(by_order, turned) == pytest.approx(-1.2)
    by_template = cells(np.repeat([first, second], 16, axis=0), asked=asked, templates=2)
    report = reliability(by_template, asked)
    assert report["order_gap"].to_numpy() == pytest.approx(0.0)
    # Keyed scores cancel, items of both keys moving alike.
    assert report["template_gap"].to_numpy() == pytest.approx(0.0)
    table = administrations(by_template, asked)
    assert len(table) == 2 * 6 and table["p_holm"].notna().all()
    same = table[(table["one"].str[:10] == table["other"].str[:10])]
    assert (same["p"] == 1).all() and (same["r"] == 0).all()


def test_two_administrations_are_compared_item_by_item():
    asked = dataclasses.replace(short(), items=items(24).assign(key=1))
    rng = np.random.default_rng(0)
    one = rng.uniform(0.2, 0.5, 48)
    share = np.stack([one, 0.9 - one, np.full(48, 0.1)], axis=1).repeat(2, axis=0)
    share[1::2, 0] -= 0.1
    share[1::2, 2] += 0.1
    table = administrations(cells(share, asked=asked), asked)
    assert table["difference"].to_numpy() == pytest.approx(-0.2) and table["r"].to_numpy() == pytest.approx(-1.0)
    assert (table["p_holm"] < 0.01).all() and (table["n"] == 24).all()


def test_alpha_needs_a_population():
    rng = np.random.default_rng(0)
    trait = rng.standard_normal((200, 1))
    scores = trait + rng.standard_normal((200, 4))
    # k items of reliability r have alpha k r / (1 + (k − 1) r), r = 1/2.
    assert cronbach_alpha(scores) == pytest.approx(4 * 0.5 / 2.5, abs=0.04)
    with pytest.raises(DataError, match="The answers of one model have none"):
        cronbach_alpha(scores[:1])
    with pytest.raises(DataError, match="1 are missing"):
        cronbach_alpha(np.where(np.arange(800).reshape(200, 4) == 5, np.nan, scores))
    assert np.isnan(cronbach_alpha(np.ones((5, 3))))


def test_agreement_is_no_trait_and_a_trait_no_agreement():
    asked = short()
    key = asked.items["key"].to_numpy().repeat(2)

    def claims(move):
        """Ratings moved from the middle by this much, 16 cells."""
        share = np.stack([1 / 3 + move / 2, np.full(16, 1 / 3), 1 / 3 - move / 2], axis=1)
        return {one.claim: one for one in forms.biases(asked, cells(share), seed=0)}

    trait = claims(0.3 * key)["agrees with everything"]
    assert trait.value == pytest.approx(0.0, abs=1e-9) and not trait.gate
    agreed = claims(np.full(16, 0.3))["agrees with everything"]
    assert agreed.value == pytest.approx(0.15) and agreed.gate and agreed.p < 0.02
    first = claims(np.tile([0.3, -0.3], 8))
    assert (
        first["takes the option printed first"].value == pytest.approx(0.3)
        and first["takes the option printed first"].gate
    )
    assert first["agrees with everything"].value == pytest.approx(0.0, abs=1e-9)
    # Only one key: what is agreement cannot be told.
    one_key = dataclasses.replace(asked, items=asked.items.assign(key=1))
    assert [one.claim for one in forms.biases(one_key, cells(np.full((16, 3), 1 / 3)), seed=0)] == [
        "takes the option printed first"
    ]


def test_a_shift_is_of_both_keys_alike_and_its_interval_over_wordings_and_items():
    keys = np.array([1, 1, 1, -1])
    weights = chance.balanced(keys)
    labels = np.repeat([1, -1], 5)
    agreeing = np.repeat([[1.0] * 4, [0.0] * 4], 5, axis=0)
    following = np.repeat([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]], 5, axis=0)
    ones = np.ones((1, 10))
    assert chance.shift(chance.scored(agreeing, weights)[None], labels, ones)[0] == pytest.approx(0.0)
    assert chance.shift(chance.scored(following, weights)[None], labels, ones)[0] == pytest.approx(1.0)
    gap = following.copy()
    gap[0, 1] = np.nan
    assert chance.scored(gap, weights)[0] == pytest.approx(0.5)
    assert np.isnan(chance.scored(np.where(keys == -1, np.nan, following), weights)).all()
    rng = np.random.default_rng(0)
    few, many = (following.repeat(n, axis=0) + 0.5 * rng.standard_normal((10 * n, 4)) for n in (1, 8))
    wide, narrow = (
        np.ptp(chance.interval(chance.bootstrapped(x, weights, labels.repeat(len(x) // 10)))) for x in (few, many)
    )
    assert wide > 1.5 * narrow
    uneven = np.repeat([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], 5, axis=0)
    low, high = chance.interval(chance.bootstrapped(uneven, weights, labels))
    assert high - low > 0.5  # wordings are all alike; items are not


def test_rows_of_a_group_are_no_evidence_of_their_own():
    """Forty rows in four groups are as sure as four rows."""
    few = np.random.default_rng(0).standard_normal((20, 4))
    many, labels = few.repeat(10, axis=1), np.repeat([1, -1], 10)
    given = [(few, None), (many, np.repeat(list("abcd"), 10)), (many, None)]
    widths = [
        np.ptp(chance.interval(chance.bootstrapped(x, np.full(x.shape[1], 1 / x.shape[1]), labels, units, draws=4000)))
        for x, units in given
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.05) and widths[2] < 0.9 * widths[0]


def test_labels_are_permuted_over_all_conditions_and_scales_do_not_matter():
    rng = np.random.default_rng(1)
    conditions, labels = np.repeat([0, 1], 8), np.concatenate([np.repeat([1, -1], 4), np.zeros(8, dtype=int)])
    values = rng.standard_normal(16) + 3 * labels
    p = chance.permuted(values, labels, conditions)
    assert p < 0.005
    alone = chance.permuted(values[:8], labels[:8], conditions[:8])
    assert 0.005 < alone < 0.03  # so few can be labelled in 70 ways
    assert chance.permuted(-values, labels, conditions) > 0.9
    faint = values - 2.5 * labels
    scaled = np.where(conditions == 1, faint * 1e3 + 7, faint)
    faint_p = chance.permuted(faint, labels, conditions)
    assert 0.01 < faint_p < 0.9 and chance.permuted(scaled, labels, conditions) == faint_p
    assert chance.permuted(np.zeros(16), labels, conditions) == 1.0
    assert np.isnan(chance.permuted(values, np.where(np.arange(16) == 0, 1, -1), conditions))
    flat = [
        chance.permuted(rng.standard_normal(16) * (1 + 9 * conditions), labels, conditions, draws=299)
        for _ in range(300)
    ]
    assert np.mean(np.array(flat) <= 0.05) < 0.09 and np.mean(flat) == pytest.approx(0.5, abs=0.06)


def test_a_direction_holds_where_new_wordings_lie_on_its_side_and_the_layer_is_paid_for():
    rng = np.random.default_rng(2)
    conditions, labels = np.repeat([0, 1], 10), np.concatenate([np.repeat([1, -1], 5), np.zeros(10, dtype=int)])
    states = rng.standard_normal((3, 20, 24))
    axis = rng.standard_normal(24)
    states[1] += 2 * labels[:, None] * axis / np.linalg.norm(axis) * 2
    K = holding.products(states, conditions)
    found, best, p = holding.held(K, labels, draws=499)
    assert best == 1 and p < 0.01 and found[1] > 0.5 and abs(found[0]) < 0.6
    # By hand: the third high wording, along the others.
    high, low = np.array([0, 1, 3, 4]), np.arange(5, 10)
    c = states[1, high].mean(axis=0) - states[1, low].mean(axis=0)
    middle = (states[1, high].mean(axis=0) + states[1, low].mean(axis=0)) / 2
    by_hand = (states[1, 2] - middle) @ c / (c @ c)
    scores = holding.scores(K[1], labels[None])[0]
    assert scores[2] == pytest.approx(by_hand) and np.isnan(scores[10:]).all()
    low = np.array([5, 6, 8, 9])
    c = states[1, :5].mean(axis=0) - states[1, low].mean(axis=0)
    middle = (states[1, :5].mean(axis=0) + states[1, low].mean(axis=0)) / 2
    assert scores[7] == pytest.approx((states[1, 7] - middle) @ c / (c @ c))
    along = holding.direction(states, labels)
    assert (states[1, :5].mean(axis=0) - states[1, 5:10].mean(axis=0)) @ along[1] == pytest.approx(1.0)
    alone = []
    for draw in range(60):
        noise = np.random.default_rng(draw).standard_normal((3, 20, 24)) * np.where(conditions == 0, 3, 1)[:, None]
        alone.append(holding.held(holding.products(noise, conditions), labels, draws=99, seed=draw)[2])
    assert np.mean(np.array(alone) <= 0.05) < 0.15


def test_none_is_claimed_where_a_shift_may_be_as_large_as_the_margin():
    labels = np.repeat([1, -1], 6)
    noise = np.random.default_rng(0).standard_normal(12)
    assert chance.equivalent(0.01 * noise, labels, 0.1) < 0.001
    assert chance.equivalent(0.2 * noise, labels, 0.1) > 0.05
    assert chance.equivalent(0.01 * noise + 0.2 * labels, labels, 0.1) > 0.99
    row = {"shift": 0.5, "low": 0.4, "high": 0.6, "p": 0.001, "n": 10, "groups": 10, "kind": "self-report"}
    still = {"shift": 0.0, "low": -0.05, "high": 0.05, "p": 0.4, "n": 10, "groups": 10, "kind": "behaviour"}
    apart = np.full(100, 0.5)
    parted = part_claim("it", [row, still], [0.9, 0.002], apart, 0.1)
    assert parted.gate and parted.p == 0.002 and parted.value == 0.5
    # Where nothing follows, nothing parts; nor where the other may have moved.
    assert part_claim("it", [row | {"p": 0.3}, still], [0.9, 0.002], apart, 0.1).p == 0.3
    assert not part_claim("it", [row, still | {"high": 0.15}], [0.9, 0.002], apart, 0.1).gate
    assert not part_claim("it", [row | {"low": 0.05}, still], [0.9, 0.002], apart, 0.1).gate


def test_a_shift_has_to_stand_out_from_random_directions():
    null = np.random.default_rng(0).normal(0, 0.1, 20)
    assert chance.beyond_random(0.05, null) > 0.2 and chance.beyond_random(0.6, null) < 1e-4
    assert chance.beyond_random(-0.6, null) > 0.99 and np.isnan(chance.beyond_random(0.6, np.zeros(0)))
