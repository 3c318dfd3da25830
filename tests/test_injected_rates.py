"""Injected thoughts, the statistics: rates, halves, the chosen cell, exchange of directions, psychometric curves."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens.errors import DataError
from steering.studies.injected_thoughts import psychometric_fit, trials
from steering.studies.injected_thoughts.evidence import swap
from steering.studies.injected_thoughts.psychometric import Psychometric
from steering.studies.injected_thoughts.rates import cells, chosen, difference, rate


@pytest.mark.parametrize(("hits", "n"), [(0, 100), (3, 10), (10, 10), (9, 50)])
def test_rates_have_wilson_intervals(hits, n):
    value, low, high, told = rate(pd.Series([1.0] * hits + [0.0] * (n - hits) + [np.nan]))
    reference = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert (value, told) == (hits / n, n)
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=1e-12)


def test_beside_zero_stands_the_bound():
    assert rate(pd.Series([0.0] * 100))[2] == pytest.approx(0.037, abs=5e-4)  # 0 of 100: at most 3.7 %, two-sided
    assert rate(pd.Series([np.nan]))[1:] == (0.0, 1.0, 0)


def test_differences_of_rates_are_newcombes():
    # Newcombe (1998), table II (a): 56/70 − 48/80, method 10.
    first, second = pd.Series([1.0] * 56 + [0.0] * 14), pd.Series([1.0] * 48 + [0.0] * 32)
    assert difference(first, second) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize(("count", "total", "by"), [(4, 48, "round"), (10, 50, "concept")])
def test_halves_share_no_group_and_every_concept_is_asked_equally_often(count, total, by):
    names = [f"word{k}" for k in range(count)]
    table = trials.design(names, total, 5, deterministic=False, seed=3)
    assert len(table) == total and set(table["concept"].value_counts()) == {total // count}
    parts = {half: set(rows["group"]) for half, rows in table.groupby("half")}
    assert not parts["test"] & parts["validation"] and abs(len(parts["test"]) - len(parts["validation"])) <= 1
    assert table.groupby("group")[by].nunique().max() == 1
    if by == "round":  # all concepts on both sides
        assert set(table[table["half"] == "test"]["concept"]) == set(names)
    assert table["prompt"].nunique() == 5
    other = trials.design(names, total, 5, deterministic=False, seed=4)
    assert (other["half"] != table["half"]).any()


def test_where_answers_do_not_vary_a_wording_is_asked_once():
    table = trials.design(list("abcd"), 100, 6, deterministic=True, seed=0)
    assert len(table) == 24 and not table.duplicated(["concept", "prompt"]).any()


@pytest.mark.parametrize(
    ("count", "total", "wordings", "fixed", "said"),
    [(4, 3, 5, False, "fewer than the 4"), (4, 4, 5, False, "more trials"), (4, 40, 1, True, "more wordings")],
)
def test_too_few_trials_are_refused(count, total, wordings, fixed, said):
    with pytest.raises(DataError, match=said):
        trials.design(list("abcdefgh")[:count], total, wordings, deterministic=fixed, seed=0)


def rows_of(rates, n=20, half="validation", **more):
    """Trials of one cell with these rates."""
    share = np.arange(n) / n
    return pd.DataFrame({name: (share < value).astype(float) for name, value in rates.items()}).assign(
        half=half, **more
    )


NONE = {"success": 0.0, "claims": 0.0, "right": 0.0, "about": 0.0, "coherent": 1.0, "verdict": 1.0}


def test_the_cell_is_chosen_on_validation_by_true_less_false_positives():
    sham = pd.concat([rows_of(NONE | {"claims": 0.1}), rows_of(NONE, half="test")])
    grid = pd.concat(
        [
            rows_of(NONE | {"success": 0.3, "claims": 1.0}, site="a", strength=1.0),
            rows_of(NONE | {"success": 0.5}, site="b", strength=2.0),
            rows_of(NONE | {"success": 1.0}, half="test", site="a", strength=1.0),
        ]
    )
    assert chosen(grid, sham) == ("b", 2.0)
    tie = [rows_of(NONE | {"right": right}, site="a", strength=s) for s, right in ((1.0, 0.5), (2.0, 0.5), (4.0, 0.2))]
    assert chosen(pd.concat(tie), sham) == ("a", 2.0)


def test_a_cell_says_what_it_rests_on():
    grid = rows_of(NONE | {"success": 0.2, "claims": 0.4, "about": 0.6, "verdict": 0.8}, site="a", strength=2.0)
    grid.loc[19, ["success", "claims", "coherent"]] = np.nan
    sham = rows_of(NONE | {"claims": 0.1})
    row = cells(grid, sham).iloc[0]
    assert row["tpr"] == pytest.approx(4 / 19) and row["fpr"] == 0.1 and row["missing"] == 1 and row["n"] == 20
    assert row["tpr_minus_fpr"] == pytest.approx(4 / 19 - 0.1)
    assert row["correct_given_claim"] == 0.5 and (row["about"], row["verdict"]) == (0.6, 0.8)
    assert row["tpr_low"] < row["tpr"] < row["tpr_high"]


def test_exchange_within_concepts_is_exact_enough_and_one_sided():
    own, others = np.ones(3), np.zeros((3, 3))
    assert swap(own, others) == pytest.approx(1 / 64, abs=0.005)
    assert swap(np.zeros(3), others + 1) == 1.0
    assert swap(np.zeros(3), others) == 1.0
    assert np.isnan(swap(np.zeros(0), np.zeros((0, 3))))


def test_exchange_is_uniform_where_own_directions_are_like_the_others():
    rng = np.random.default_rng(0)
    p = np.array([swap(draw[:, 0], draw[:, 1:], seed=k) for k, draw in enumerate(rng.normal(size=(200, 6, 6)))])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    # Habits of words, such as a favourite, are the same for all directions of a word.
    habit = rng.normal(size=(200, 6, 1)) * 5 + rng.normal(size=(200, 6, 6))
    p = np.array([swap(draw[:, 0], draw[:, 1:], seed=k) for k, draw in enumerate(habit)])
    assert stats.kstest(p, "uniform").pvalue > 0.01


X = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 4])


def test_a_psychometric_curve_gives_back_what_it_was_drawn_from():
    truth = Psychometric(1.8, 0, 0, 4.0, 0.05, 0.1, rises=True)
    fit = psychometric_fit(X, 400 * truth(X), np.full(8, 400.0), draws=50)
    assert fit.rises and fit.threshold == pytest.approx(1.8, abs=0.02) and fit.slope == pytest.approx(4, rel=0.05)
    assert (fit.guess, fit.lapse) == pytest.approx((0.05, 0.1), abs=0.01)
    assert fit(np.array([1.8]))[0] == pytest.approx(0.05 + 0.85 / 2, abs=0.01)


def test_the_thresholds_interval_covers_it():
    truth, rng = Psychometric(1.8, 0, 0, 4.0, 0.05, 0.1, rises=True), np.random.default_rng(1)
    fits = [psychometric_fit(X, rng.binomial(40, truth(X)) * 1.0, np.full(8, 40.0), draws=40) for _ in range(10)]
    covered = sum(fit.low <= 1.8 <= fit.high for fit in fits)
    assert covered >= stats.binom.ppf(0.001, 10, 0.9)
    assert 0.1 < np.median([fit.high - fit.low for fit in fits]) < 1.0


def test_a_constant_rate_has_no_threshold():
    rng = np.random.default_rng(2)
    fits = [psychometric_fit(X, rng.binomial(30, 0.2, 8) * 1.0, np.full(8, 30.0), draws=5) for _ in range(30)]
    assert sum(fit.rises for fit in fits) <= stats.binom.ppf(0.995, 30, 0.05)
    flat = psychometric_fit(X, np.full(8, 6.0), np.full(8, 30.0))
    assert np.isnan(flat.threshold) and flat(X) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("x", "hits", "n", "said"),
    [
        ([1, 2], [0, 1], [2, 2], "three"),
        ([1, 2, 3], [0, 1, 3], [2, 2, 2], "between"),
        ([1, 2, 3], [0, 0, 0], [2, 0, 2], "above"),
    ],
)
def test_what_is_no_curve_is_refused(x, hits, n, said):
    with pytest.raises(DataError, match=said):
        psychometric_fit(*(np.array(one, dtype=float) for one in (x, hits, n)))
