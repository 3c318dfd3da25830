"""Logistic regression in the span of the rows: the optimum, for every penalty, however it is reached."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import lens
import probes
from probes import Lda, Logistic, MeanDifference, Ridge
from probes.base import families, fit_together
from probes.folds import cross_fit, grouped_folds

PENALTIES = [float(C) for C in np.logspace(-5, 2, 8)]


def wide(n=80, d=300, *, seed=0):
    """Rows of falling variance, some coordinates much larger than others, and a planted difference."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    X = random.normal(size=(n, 40)) @ random.normal(size=(40, d)) + random.normal(size=(n, d))
    return (X + np.outer(y, random.normal(size=d))) * np.exp(random.normal(size=d)) + 3, y


def scaled(X, weight):
    center = np.average(X, axis=0, weights=weight)
    return (X - center) / np.sqrt(np.average((X - center) ** 2, axis=0, weights=weight))


def cost(Z, y, v, b, C, weight):
    return C * (weight @ np.logaddexp(0, -(2 * y - 1) * (Z @ v + b))) + v @ v / 2


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("C", PENALTIES)
def test_wide_rows_reach_the_optimum_of_scikit_learn(C, weighted):
    X, y = wide()
    weight = np.random.default_rng(1).exponential(size=len(y)) if weighted else np.ones(len(y))
    Z = scaled(X, weight)
    reference = LogisticRegression(C=C, tol=1e-8, max_iter=100_000).fit(Z, y, sample_weight=weight)
    probe = Logistic(C, standardise=False).fit(Z, y, weight)
    v, u = probe.coef_[0], reference.coef_[0]
    assert v @ u / np.linalg.norm(v) / np.linalg.norm(u) > 0.9999
    ours = cost(Z, y, v, probe.intercept_[0], C, weight)
    assert ours <= cost(Z, y, u, reference.intercept_[0], C, weight) * (1 + 1e-12)
    standardised = Logistic(C).fit(X, y, weight)
    assert np.allclose(standardised.decision_function(X), probe.decision_function(Z), rtol=1e-6, atol=1e-8)


def test_nothing_near_the_solution_costs_less():
    X, y = wide()
    Z, weight, random = scaled(X, np.ones(80)), np.ones(80), np.random.default_rng(0)
    for C in PENALTIES:
        probe = Logistic(C, standardise=False).fit(Z, y)
        v, b = probe.coef_[0], probe.intercept_[0]
        least = cost(Z, y, v, b, C, weight)
        for _ in range(20):
            step = random.normal(size=len(v)) * 1e-3 * np.linalg.norm(v) / np.sqrt(len(v))
            assert cost(Z, y, v + step, b, C, weight) > least
        assert min(cost(Z, y, v, b + shift, C, weight) for shift in (-1e-3, 1e-3)) > least


def test_narrow_and_wide_rows_are_one_problem():
    """Columns of zeros make rows wide without changing anything."""
    X, y = wide(n=120, d=30)
    for C in (0.01, 1.0):
        narrow = Logistic(C).fit(X, y)
        padded = Logistic(C).fit(np.hstack([X, np.zeros((120, 200))]), y)
        assert np.allclose(padded.coef_[0, :30], narrow.coef_[0], rtol=1e-5, atol=1e-8)
        assert np.abs(padded.coef_[0, 30:]).max() == 0


def test_penalties_fitted_together_are_those_fitted_alone():
    X, y = wide()
    order = np.random.default_rng(0).permutation(PENALTIES).tolist()
    together = [Logistic(C) for C in [*order, order[0]]]
    fit_together(together, X, y)
    for probe in together:
        alone = Logistic(probe.C).fit(X, y)
        assert np.allclose(probe.decision_function(X), alone.decision_function(X), rtol=1e-5, atol=1e-7)


def test_only_kin_are_fitted_together():
    chosen = [
        MeanDifference(),
        Logistic(),
        Lda(),
        Logistic(0.1),
        Logistic(0.1, standardise=False),
        probes.Lat(),
        Ridge(),
    ]
    assert families(chosen) == [[0, 2, 6], [1, 3], [4], [5]]


def test_cross_fitting_several_probes_is_cross_fitting_each():
    X, y = wide()
    chosen = ["mean_difference", Logistic(0.01), "lda", Logistic(1.0), "ridge", "lat"]
    plan = grouped_folds(y, np.arange(80), 4, 0)
    for probe, fitted in zip(chosen, cross_fit(X, y, plan, chosen), strict=True):
        [alone] = cross_fit(X, y, plan, [probe])
        for one, other in zip(fitted, alone, strict=True):
            assert type(one) is type(other)
            assert np.linalg.norm(one.coef_ - other.coef_) < 1e-6 * np.linalg.norm(other.coef_)


def test_a_sweep_says_the_same_of_a_probe_in_any_company(planted):
    acts = planted(signal={1: 2.0})
    options = {"folds": 3, "permutations": 2, "random_draws": 5, "progress": False}
    company = [Logistic(0.01), "mean_difference", Logistic(1.0), "lda"]
    table = probes.sweep(acts, company, **options).set_index(["probe", "site"])
    for probe in company:
        alone = probes.sweep(acts, probe, **options).set_index(["probe", "site"])
        ignored = ["p"]  # it pays for the choice among all
        pd.testing.assert_frame_equal(
            table.loc[alone.index].drop(columns=ignored), alone.drop(columns=ignored), rtol=1e-5
        )


def test_soft_labels_are_rows_of_either_label_with_their_weights():
    X, y = wide()
    q = np.random.default_rng(0).uniform(size=len(y))
    soft = Logistic(0.1).fit_soft(X, q)
    hard = Logistic(0.1).fit(np.vstack([X, X]), np.repeat([1, 0], len(y)), np.concatenate([q, 1 - q]))
    assert np.allclose(soft.coef_, hard.coef_, rtol=1e-6) and soft.classes_.tolist() == [0, 1]
    # Where labels are certain, they are labels.
    certain = Logistic(0.1).fit_soft(X, y)
    assert np.allclose(certain.coef_, Logistic(0.1).fit(X, y).coef_, rtol=1e-6)
    # Without features, what is left is the mean of the labels.
    flat = Logistic().fit_soft(np.zeros((80, 3)), q)
    assert flat.predict_proba(np.zeros((1, 3)))[0, 1] == pytest.approx(q.mean(), abs=1e-6)


def test_soft_labels_keep_the_weights_of_their_rows():
    X, y = wide()
    q, weight = np.random.default_rng(0).uniform(size=(2, len(y)))
    both = np.concatenate([weight * q, weight * (1 - q)])
    hard = Logistic(0.1).fit(np.vstack([X, X]), np.repeat([1, 0], len(y)), both)
    soft = Logistic(0.1).fit_soft(X, q, weight)
    assert np.allclose(soft.coef_, hard.coef_, rtol=1e-6)
    assert not np.allclose(soft.coef_, Logistic(0.1).fit_soft(X, q).coef_, rtol=1e-2)


@pytest.mark.parametrize("bad", [np.full(80, 1.5), np.full(80, -0.1), np.full(79, 0.5), np.full(80, np.nan)])
def test_soft_labels_are_probabilities(bad):
    with pytest.raises(lens.DataError, match="80 rows need as many probabilities from 0 to 1"):
        Logistic().fit_soft(wide()[0], bad)


@pytest.mark.parametrize("C", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("d", [10, 300])
def test_a_penalty_is_a_number_above_zero(C, d):
    X, y = wide(d=d)
    with pytest.raises(lens.DataError, match=f"C={C}"):
        Logistic(C).fit(X, y)


def test_equal_rows_leave_the_rate_alone():
    X, y = np.ones((20, 50)), np.repeat([0, 1], [5, 15])
    probe = Logistic().fit(X, y)
    assert np.abs(probe.coef_).max() == 0 and probe.predict_proba(X)[0, 1] == pytest.approx(0.75)


def test_a_class_without_weight_is_no_class():
    X, y = wide()
    with pytest.raises(lens.DataError, match="Both classes need weight"):
        Logistic().fit(X, y, (y == 0).astype(float))


def test_a_coordinate_that_varies_by_rounding_alone_does_not_vary():
    X, y = wide(d=100)
    X[:, 7] = 0.1
    X[::2, 7] += 1e-17
    probe = Logistic().fit(X, y)
    assert probe.coef_[0, 7] == 0
    moved = X.copy()
    moved[:, 7] += 1e-3
    assert np.array_equal(probe.decision_function(moved), probe.decision_function(X))


def test_unpooled_rows_are_sent_to_the_probes_that_read_tokens(llama):
    table = lens.Examples.from_pairs(["the fox", "she lied"], ["a fox lied", "the money"])
    acts = lens.collect(llama, table, span="prompt", pool="none", progress=False)
    direction = probes.Direction.from_vector(np.ones(64), "resid_post.1")
    asked = {
        "fit_tokens": lambda: probes.fit(acts, "resid_post.1"),
        "sweep_tokens": lambda: probes.sweep(acts, progress=False),
        "unpooled": lambda: probes.evaluate(direction, acts),
    }
    for word, ask in asked.items():
        with pytest.raises(lens.DataError, match=f"unpooled.*{word}" if word != "unpooled" else word):
            ask()
