"""Paired changes: the sign flip against its enumeration, its rate of false alarms, and what is missing."""

from itertools import product

import numpy as np
import pytest

from lens.intervals import mean_interval
from steering.paired import paired, sign_flip


def enumerated(change, groups):
    sums = np.array([change[groups == one].sum() for one in np.unique(groups)])
    null = [abs(np.dot(signs, sums)) for signs in product((1, -1), repeat=len(sums))]
    return np.mean(np.array(null) >= abs(sums.sum()) - 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_sign_flip_is_that_of_all_flips_of_whole_groups(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 8, 40)
    change = rng.standard_normal(40) + 0.3
    assert sign_flip(change, groups) == pytest.approx(enumerated(change, groups), abs=0.02)


def test_rows_of_one_group_count_once():
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.standard_normal(10), 20)
    change = shared + 0.5 + 0.01 * rng.standard_normal(200)
    assert sign_flip(change, np.repeat(np.arange(10), 20)) > 0.02 > sign_flip(change, np.arange(200))


def test_without_an_effect_alarms_are_as_rare_as_the_level():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(7), 4)
    p = [sign_flip(np.repeat(rng.standard_normal(7), 4), groups, flips=200, seed=k) for k in range(400)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.04)


def test_no_change_at_all_is_no_evidence_and_the_sign_does_not_matter():
    rng = np.random.default_rng(2)
    change, groups = rng.standard_normal(30) + 1, np.arange(30)
    assert sign_flip(np.zeros(30), groups) == 1
    assert sign_flip(change, groups) == sign_flip(-change, groups) < 0.01
    assert sign_flip(1e-9 * change, groups) == sign_flip(change, groups)
    assert np.isnan(sign_flip(np.full(3, np.nan), np.arange(3)))


def test_missing_rows_are_left_out_and_counted():
    change, groups = np.array([1.0, np.nan, 3.0, 2.0]), np.array([0, 0, 1, 2])
    found = paired(change, groups)
    assert (found["change"], found["n"], found["missing"]) == (2.0, 3, 1)
    assert (found["low"], found["high"]) == mean_interval(np.array([1.0, 3.0, 2.0]), np.array([0, 1, 2]))
    nothing = paired(np.full(2, np.nan), np.arange(2))
    assert nothing["n"] == 0 and nothing["missing"] == 2
    assert np.isnan([nothing[name] for name in ("change", "low", "high", "p")]).all()
