"""Transitions of paired answers, and what tests them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens import DataError
from steering.studies.evaluation_awareness import paired_transition_test
from steering.studies.evaluation_awareness.transitions import bowker_statistic, stuart_maxwell_statistic


def test_two_answers_are_tested_by_the_exact_binomial():
    before, after = ["a"] * 12 + ["b"] * 3 + ["a", None, "b"], ["b"] * 12 + ["a"] * 3 + ["a", "a", float("nan")]
    found = paired_transition_test(before, after)
    assert found.missing == 2 and found.matrix.to_numpy().tolist() == [[1, 12], [3, 0]]
    assert found.tests["test"].tolist() == ["McNemar, exact"]
    assert found.tests["p"].iloc[0] == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert paired_transition_test(["a", "b"], ["a", "b"]).tests["p"].iloc[0] == 1.0


def test_many_answers_are_tested_for_symmetry_and_for_totals():
    """Symmetric totals of an asymmetric table: a round trip of three answers."""
    before = ["honest"] * 30 + ["lie"] * 30 + ["refuse"] * 30
    after = ["lie"] * 30 + ["refuse"] * 30 + ["honest"] * 30
    tests = paired_transition_test(before, after).tests.set_index("test")
    assert tests.loc["Bowker", "statistic"] == pytest.approx(90) and tests.loc["Bowker", "df"] == 3
    assert tests.loc["Bowker", "p"] == pytest.approx(stats.chi2.sf(90, 3)) and tests.loc["Bowker", "p_exact"] < 1e-3
    assert tests.loc["Stuart–Maxwell", "statistic"] == pytest.approx(0) and tests.loc["Stuart–Maxwell", "p"] > 0.99
    counts = np.array([[5, 9, 3], [2, 7, 8], [1, 4, 6]])
    expected = (9 - 2) ** 2 / 11 + (3 - 1) ** 2 / 4 + (8 - 4) ** 2 / 12
    assert bowker_statistic(counts) == pytest.approx(expected)
    # With the last answer left out, as it is usually written.
    d = (counts.sum(axis=1) - counts.sum(axis=0)).astype(float)
    S = np.diag(counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)) - (counts + counts.T) * (1 - np.eye(3))
    assert stuart_maxwell_statistic(counts) == pytest.approx(d[:2] @ np.linalg.inv(S[:2, :2]) @ d[:2])
    two = np.array([[3, 11], [4, 6]])
    assert stuart_maxwell_statistic(two) == pytest.approx((11 - 4) ** 2 / 15) == bowker_statistic(two)
    rng = np.random.default_rng(0)
    null = [paired_transition_test(*rng.choice(list("abc"), (2, 40)), seed=k).tests["p_exact"] for k in range(20)]
    assert 0.3 < np.mean(null) < 0.7


def test_answers_are_the_same_where_their_values_are():
    """One missing row makes integers floats, which changed nothing."""
    given = [0, 1, 1, 0, 1, 0]
    found = paired_transition_test(pd.Series(given), pd.Series([*given[:-1], np.nan]))
    assert found.matrix.to_numpy().tolist() == [[2, 0], [0, 3]] and found.missing == 1
    assert list(found.matrix.index) == ["0", "1"] and found.tests["p"].iloc[0] == 1.0
    whole = pd.array([0, 1, pd.NA, pd.NA], dtype="Int64")
    assert paired_transition_test(whole, pd.array([0, 1, 1, 0], dtype="Int64")).missing == 2
    narrow = np.array([0, 1, np.nan], dtype=np.float32)
    found = paired_transition_test(narrow, np.array([1, 1, 1], dtype=np.float32))
    assert found.missing == 1 and found.matrix.to_numpy().tolist() == [[0, 1], [0, 1]]
    assert list(paired_transition_test([1, "1"], ["1", 1]).matrix.index) == ["1", "'1'"]


def test_answers_that_cannot_be_paired_are_refused():
    with pytest.raises(DataError, match="2 answers before and 1 after"):
        paired_transition_test(["a", "b"], ["a"])
    with pytest.raises(DataError, match="None of 1 rows"):
        paired_transition_test([None], ["a"])
    with pytest.raises(DataError, match="Every answer is 'a'"):
        paired_transition_test(["a"], ["a"])
