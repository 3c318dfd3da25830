"""Ridge and ordinal regression: parity, formulas, weights, and what is refused."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import lens
from probes.graded import spearman
from probes.metrics import auroc
from probes.midranks import auroc_draws, spearman_draws
from probes.ordinal import Ordinal, _loss, _thresholds
from probes.ridge_regression import RidgeRegression

QUICK = {"folds": 4, "permutations": 19, "random_draws": 20}


def data(n=210, d=8, seed=0, levels=7):
    """Levels −3 … 3 that follow coordinates of very different size; coordinate 5 is constant."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(-1, 2, d) + 5
    X[:, 5] = 5.1
    latent = 2 * (X[:, 0] - 5) / 0.1 - (X[:, 3] - 5) / X[:, 3].std() + rng.logistic(size=n)
    cuts = np.quantile(latent, np.arange(1, levels) / levels)
    return X, np.searchsorted(cuts, latent) - levels // 2


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 40)])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("standardise", [True, False])
def test_ridge_regression_is_scikit_learns(n, d, alpha, standardise):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, d)) * np.logspace(-1, 1, d) + 3, rng.standard_normal(n)
    steps = [StandardScaler()] if standardise else []
    reference = make_pipeline(*steps, Ridge(alpha=alpha, solver="svd")).fit(X, y)
    probe = RidgeRegression(alpha, standardise=standardise).fit(X, y)
    assert np.allclose(probe.predict(X), reference.predict(X), atol=1e-8)


def test_without_a_penalty_ridge_regression_is_least_squares_of_least_norm():
    X, y = np.random.default_rng(0).standard_normal((5, 9)), np.arange(5.0)
    probe = RidgeRegression(0.0, standardise=False).fit(X, y)
    wanted = np.linalg.pinv(X - X.mean(axis=0)) @ (y - y.mean())
    assert np.allclose(probe.coef_, wanted, atol=1e-8) and np.allclose(probe.predict(X), y)


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_gradient_is_that_of_the_loss(seed, levels):
    rng = np.random.default_rng(seed)
    Z, level = rng.standard_normal((12, 3)), np.arange(12) % levels
    weight, point = rng.random(12) + 0.1, rng.standard_normal(3 + levels - 1)
    options = (Z, level, weight, 0.7)
    wrong = check_grad(lambda p: _loss(p, *options)[0], lambda p: _loss(p, *options)[1], point)
    assert wrong < 1e-4 * (1 + np.linalg.norm(_loss(point, *options)[1]))
    assert (np.diff(_thresholds(point[3:])) > 0).all()


def test_the_loss_is_minus_the_log_probability():
    X, y = data()
    probe = Ordinal(standardise=False).fit(X / X.std(axis=0).clip(1e-9), y)
    chosen = probe.predict_proba(X / X.std(axis=0).clip(1e-9))[np.arange(len(y)), y + 3]
    point = np.concatenate([probe.coef_, probe.thresholds_[:1], np.log(np.diff(probe.thresholds_))])
    value = _loss(point, X / X.std(axis=0).clip(1e-9), y + 3, np.ones(len(y)), 1.0)[0]
    assert value == pytest.approx(-np.log(chosen).sum() + probe.coef_ @ probe.coef_ / 2)


@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_with_two_levels_ordinal_is_logistic_regression(C):
    X, y = data(levels=2)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=C, tol=1e-8, max_iter=10000)).fit(X, y)
    probe = Ordinal(C).fit(X, y)
    assert np.allclose(probe.predict_proba(X), reference.predict_proba(X), atol=1e-4)


def test_ordinal_finds_the_planted_direction_and_thresholds():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20000, 4))
    wanted, cuts = np.array([1.5, -1.0, 0.0, 0.5]), np.array([-2.0, -1.5, 3.0])
    y = np.searchsorted(cuts, X @ wanted + rng.logistic(size=len(X)))
    probe = Ordinal(100.0).fit(X, np.array([0, 10, 11, 50])[y])
    assert np.allclose(probe.coef_, wanted, atol=0.08) and np.allclose(probe.thresholds_, cuts, atol=0.08)
    assert probe.classes_.tolist() == [0, 10, 11, 50]
    share = np.bincount(y, minlength=4) / len(y)
    assert np.allclose(probe.predict_proba(X).mean(axis=0), share, atol=0.01)
    assert probe.expectation(X).mean() == pytest.approx(share @ probe.classes_, abs=0.2)


@pytest.mark.parametrize("probe", [RidgeRegression(), Ordinal()], ids=repr)
def test_it_points_to_the_higher_levels_and_turning_the_target_turns_it(probe):
    X, y = data()
    fitted = clone(probe).fit(X, y)
    assert fitted.coef_[0] > 0 > fitted.coef_[3] and fitted.coef_[5] == 0
    assert spearmanr(X @ fitted.coef_, y).statistic > 0.7
    assert np.allclose(clone(probe).fit(X, -y).coef_, -fitted.coef_, rtol=1e-3, atol=1e-4 * np.abs(fitted.coef_).max())


@pytest.mark.parametrize("probe", [RidgeRegression(), Ordinal()], ids=repr)
def test_weights_count_like_repeated_rows(probe):
    X, y = data()
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    weighted = clone(probe).fit(X, y, sample_weight=weight).coef_
    repeated = clone(probe).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).coef_
    assert np.allclose(weighted, repeated, rtol=1e-3, atol=1e-5 * np.abs(repeated).max())
    assert not np.allclose(weighted, clone(probe).fit(X, y).coef_, rtol=1e-2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_is_scipys(rows):
    a, b = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = np.nan_to_num(spearmanr(a, b).statistic)
    assert float(spearman(a, b)) == pytest.approx(wanted)
    assert np.allclose(spearman(a, np.stack([b, -b], axis=1)), [wanted, -wanted])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 1)), min_size=4, max_size=20))
def test_a_draw_is_a_table_with_repeated_rows(rows):
    y, scores, labels = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    labels = labels.astype(int)
    counts = np.random.default_rng(len(rows)).multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=5)
    drawn = spearman_draws(y, scores, counts.astype(float)), auroc_draws(labels, scores, counts.astype(float))
    for number, times in enumerate(counts):
        chosen = np.repeat(np.arange(len(rows)), times)
        assert drawn[0][number] == pytest.approx(float(spearman(y[chosen], scores[chosen])), abs=1e-9)
        both = len(set(labels[chosen])) == 2
        wanted = float(auroc(labels[chosen], scores[chosen])) if both else np.nan
        assert drawn[1][number] == pytest.approx(wanted, nan_ok=True)


def test_what_cannot_be_fitted_is_said():
    X, y = data()
    for wrong, says in ((RidgeRegression(-1.0), "at least 0"), (Ordinal(0.0), "above 0")):
        with pytest.raises(lens.DataError, match=says):
            wrong.fit(X, y)
    for probe in (RidgeRegression(), Ordinal()):
        with pytest.raises(lens.DataError, match="as many sample weights"):
            probe.fit(X, y, sample_weight=[1.0])
        with pytest.raises(ValueError, match="NaN"):
            probe.fit(np.where(X > 7, np.nan, X), y)
    with pytest.raises(lens.DataError, match=r"class\) needs weight; .*-3.* has zero"):
        Ordinal().fit(X, y, sample_weight=(y > -3) * 1.0)
    with pytest.raises(lens.DataError, match="holds 1 class: 3"):
        Ordinal().fit(X, np.full(len(X), 3))
    with pytest.warns(UserWarning, match="2 steps did not suffice"):
        Ordinal(max_iter=2).fit(X, y)


DIFFERENT = {
    "check_classifiers_train": "Ordinal: its three clusters lie in no order along any direction",
    "check_do_not_raise_errors_in_init_or_set_params": "under the tests' run-time type checks, init does raise",
}


@pytest.mark.parametrize("probe", [RidgeRegression(), Ordinal()], ids=repr)
def test_scikit_learns_own_checks_pass(probe):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(probe, expected_failed_checks=DIFFERENT, on_fail=None, on_skip=None)
    assert [(one["check_name"], one["exception"]) for one in results if one["status"] == "failed"] == []
    assert sum(one["status"] == "passed" for one in results) > 50
