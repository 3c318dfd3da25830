"""Control, as arithmetic: what d, precision and their nulls are where the truth is written into the scores."""

import numpy as np
import pytest

from steering.studies.neurofeedback.effect import SIDES, _swapped_d, cohen_d, effect_of, precision_of, specific, sums
from steering.studies.neurofeedback.space import dimension, dimension_row, passes

# A flip that nobody noted: the label asked for alone decides the side.
UNNOTED = np.array([[0, 1], [0, 1]])


def cells(gain, noise=1.0, experiments=100, seed=0, sides=SIDES):
    """Scores [e, 2, 2, axes]: `gain` per axis where the upper side is asked for, and noise."""
    gain = np.atleast_1d(np.asarray(gain, dtype=float))
    random = np.random.default_rng(seed)
    shift = sides[..., None] * gain
    return shift + noise * random.standard_normal((experiments, 2, 2, len(gain)))


def test_d_of_two_summed_halves_is_root_two_times_that_of_one():
    found = [effect_of(*(one[:, 0] for one in sums(cells(0.5, seed=seed))), swaps=9) for seed in range(200)]
    d = np.array([one.d for one in found])
    assert d.mean() == pytest.approx(np.sqrt(2) * 0.5, abs=0.03)
    single = [cohen_d(one[:, 0, 1, 0], one[:, 0, 0, 0]) for one in (cells(0.5, seed=seed) for seed in range(200))]
    assert np.mean(single) == pytest.approx(0.5, abs=0.03)
    inside = [abs(one.d - np.sqrt(2) * 0.5) < 2 * one.se for one in found]
    assert np.mean(inside) >= 0.9
    # As stated for 100 against 100 at d = 0, 1, 2.
    for gain, se in ((0.0, 0.141), (1 / np.sqrt(2), 0.150), (np.sqrt(2), 0.173)):
        assert effect_of(*(one[:, 0] for one in sums(cells(gain)))).se == pytest.approx(se, abs=0.006)


def test_a_flip_that_is_not_noted_makes_the_effect_vanish():
    right = effect_of(*(one[:, 0] for one in sums(cells(2.0))))
    wrong = effect_of(*(one[:, 0] for one in sums(cells(2.0), UNNOTED)))
    assert right.d > 2 and right.p < 0.001 and right.low > 0
    assert abs(wrong.d) < 2 * wrong.se and wrong.p > 0.01
    # What the word of the label does by itself would be called control by that bookkeeping, and is not by this one.
    words = cells(2.0, sides=UNNOTED)
    assert effect_of(*(one[:, 0] for one in sums(words, UNNOTED))).d > 2
    plain = effect_of(*(one[:, 0] for one in sums(words)))
    assert abs(plain.d) < 2 * plain.se


def test_what_sentences_bring_along_cancels():
    given = cells(0.0, noise=0.1) + 30 * np.random.default_rng(1).standard_normal((100, 1, 1, 1))
    one, zero = (side[:, 0] for side in sums(given))
    assert np.abs(one - zero).max() < 2
    assert effect_of(one, zero).d == pytest.approx(0, abs=0.01)


def test_replies_that_never_vary_have_no_effect_without_one():
    same = np.full((20, 2, 2, 3), 0.1 + 0.2)
    assert cohen_d(*sums(same)) == pytest.approx(0)
    assert effect_of(*(one[:, 0] for one in sums(same))).p > 0.05


def test_only_the_way_asked_for_counts():
    against = effect_of(*(one[:, 0] for one in sums(cells(-2.0))))
    assert against.high < 0 and against.p > 0.99


def test_precision_is_recovered_and_its_null_is_not_one_sided():
    # Axis 0 moves by 1, nine others by a tenth of it.
    moved = sums(cells([1.0, *[0.1] * 9], seed=3, experiments=2000))
    found = precision_of(moved[0][:, 0], moved[1][:, 0], moved)
    assert found.precision == pytest.approx(1 / ((1 + 9 * 0.1) / 10), rel=0.15)
    assert found.null_high < found.precision
    none = [sums(cells(np.zeros(60), seed=seed)) for seed in range(200)]
    ratios = [abs(cohen_d(*one))[0] / abs(cohen_d(*one)).mean() for one in none]
    assert np.mean(ratios) == pytest.approx(1, abs=0.15)
    assert np.quantile(ratios, 0.975) == pytest.approx(2.79, abs=0.45)
    assert 0.32 < np.mean(np.array(ratios) > 1) < 0.52
    null = precision_of(none[0][0][:, 0], none[0][1][:, 0], none[0])
    assert null.null == pytest.approx(1, abs=0.2) and 2 < null.null_high < 3.6


def test_many_swaps_at_once_are_those_one_at_a_time():
    one, zero = sums(cells([1.0, 0.0, -3.0], experiments=12) + 5)
    swap = np.random.default_rng(0).integers(0, 2, size=(7, 12))
    for row, found in zip(swap, _swapped_d(one, zero, swap.astype(float)), strict=True):
        mixed = np.where(row[:, None] == 1, zero, one), np.where(row[:, None] == 1, one, zero)
        assert found == pytest.approx(cohen_d(*mixed))


def test_flipping_the_signs_of_components_changes_nothing():
    scores = cells([1.0, 0.3, -0.2, 0.0])
    sign = np.array([-1.0, 1.0, -1.0, 1.0])
    one, other = (sums(each) for each in (scores, scores * sign))
    turned = precision_of(-other[0][:, 0], -other[1][:, 0], other)
    assert precision_of(one[0][:, 0], one[1][:, 0], one) == pytest.approx(turned)
    assert cohen_d(*other) == pytest.approx(sign * cohen_d(*one))


def test_a_push_in_any_direction_is_not_specific():
    """Bilinear in shots and labels, the same in every experiment: d is far from 0 on nearly all axes alike."""
    random = np.random.default_rng(0)
    scores = cells(random.standard_normal(40), seed=1)
    swapped = [effect_of(one, zero).p for one, zero in zip(*(side.T for side in sums(scores)), strict=True)]
    assert np.mean(np.array(swapped) < 0.01) > 0.3
    alike = [specific(d, sums(scores)) for d in cohen_d(*sums(scores))]
    assert np.mean(np.array(alike) < 0.05) < 0.15
    aimed = cells([2.0, *[0.0] * 39], seed=1)
    assert specific(float(cohen_d(*sums(aimed))[0]), sums(aimed)) < 0.005


def test_without_control_200_studies_of_four_axes_show_it_as_often_as_stated():
    from steering.studies.result import Claim, judged

    shown = 0
    for seed in range(200):
        parts = sums(cells(np.zeros(16), seed=seed, experiments=40))
        claims = []
        for axis in range(4):
            effect = effect_of(parts[0][:, axis], parts[1][:, axis], swaps=199, seed=seed)
            p = max(effect.p, specific(effect.d, parts, draws=199, seed=seed))
            claims.append(Claim(str(axis), effect.d, effect.low, effect.high, 0.0, p, 40, 40, ""))
        shown += bool(judged(claims)["shown"].any())
    # .05, and two standard errors of 200 draws.
    assert shown / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


def test_the_space_ends_with_the_first_component_that_fails():
    tried = [1, 2, 4, 8]
    passed = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], dtype=bool)
    assert dimension(passed, tried).tolist() == [4, 1, 0, 8]
    strong, none = (
        passes(level + np.random.default_rng(k).standard_normal(80), np.arange(80), 0.0)
        for k, level in enumerate((1.5, 0.0))
    )
    row = dimension_row("explicit", {2: True, 1: True, 4: False}, {1: strong, 2: strong, 4: none})
    assert (row["dimension"], row["low"], row["next"]) == (2.0, 2.0, 4.0)
    assert row["tried"] == [1, 2, 4]
    assert none.mean() < 0.3 and strong.all()
