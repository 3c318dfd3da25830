"""Token-level probes: rows are sets of tokens, whatever stands behind the mask, and one token is enough to find."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from token_data import SITE, activations, data

import lens
from probes import Logistic
from probes.metrics import auroc
from probes.tokens import AttentionProbe, TokenProbe, fit_tokens, sweep_tokens
from probes.tokens.attention import _loss as attention_loss
from probes.tokens.pooled import pooled_loss
from probes.tokens.rows import TokenRows

SETS = [TokenProbe("mean"), TokenProbe("max"), TokenProbe("softmax"), AttentionProbe(), AttentionProbe(2)]
ALL = [*SETS, TokenProbe("last"), TokenProbe("softmax", temperature=0.3, C=0.1)]
each = pytest.mark.parametrize("probe", ALL, ids=repr)


def scores_of(probe, X):
    return probe.decision_function(X), probe.token_scores(X), probe.token_weights(X)


@pytest.mark.parametrize("pool", ["mean", "last", "max", "softmax"])
def test_the_slope_of_a_pooled_loss_is_its_own(pool):
    X, y = data(n=12)
    known = {"tokens": TokenRows.of(X), "positive": y == 1, "weight": np.linspace(1, 2, 12), "pool": pool}
    for point in np.random.default_rng(0).standard_normal((5, 7)) / 10:
        wrong = check_grad(
            lambda p: pooled_loss(p, temperature=0.7, **known)[0],
            lambda p: pooled_loss(p, temperature=0.7, **known)[1],
            point,
        )
        assert wrong < 1e-4


@pytest.mark.parametrize("heads", [1, 3])
def test_the_slope_of_the_attention_loss_is_its_own(heads):
    X, y = data(n=12)
    known = {"tokens": TokenRows.of(X), "positive": y == 1, "weight": np.linspace(1, 2, 12), "heads": heads}
    for point in np.random.default_rng(0).standard_normal((5, 12 * heads + 1)) / 10:
        assert (
            check_grad(lambda p: attention_loss(p, **known)[0], lambda p: attention_loss(p, **known)[1], point) < 1e-3
        )


@each
def test_the_score_is_its_formula(probe):
    X, y = data()
    fitted = clone(probe).fit(X, y)
    row, tokens, weights = scores_of(fitted, X)
    there = ~np.isnan(X).all(axis=2)
    assert np.array_equal(np.isnan(tokens), ~there) and np.array_equal(np.isnan(weights), ~there)
    assert np.allclose(np.nansum(weights, axis=1), 1) and np.nanmin(weights) >= 0
    assert np.allclose(tokens[there], X[there] @ fitted.coef_[0] + fitted.intercept_[0])
    if len(fitted.values_) == 1:
        assert np.allclose(row, np.nansum(weights * tokens, axis=1))
        assert np.allclose(row, fitted.pooled(X) @ fitted.coef_[0] + fitted.intercept_[0])
    pools = {"mean": np.nanmean(tokens, axis=1), "max": np.nanmax(tokens, axis=1), "last": tokens[:, ::-1]}
    if getattr(probe, "pool", None) in ("mean", "max"):
        assert np.allclose(row, pools[probe.pool])
    if getattr(probe, "pool", None) == "last":
        assert np.allclose(row, [one[~np.isnan(one)][-1] for one in tokens])
    if getattr(probe, "pool", None) == "softmax":
        raised = np.exp(tokens / probe.temperature)
        assert np.allclose(weights, raised / np.nansum(raised, axis=1, keepdims=True), equal_nan=True)


@each
def test_what_stands_behind_the_mask_changes_nothing(probe):
    X, y = data()
    wider = np.concatenate([X, np.full((len(X), 5, X.shape[2]), np.nan)], axis=1)
    wanted = scores_of(clone(probe).fit(X, y), X)
    got = scores_of(clone(probe).fit(wider, y), wider)
    assert np.array_equal(wanted[0], got[0]) and np.array_equal(wanted[1], got[1][:, :12], equal_nan=True)
    fits = [fit_tokens(activations(X, y, pads=pads), SITE, probe) for pads in (0.0, 1e9, np.nan, np.inf)]
    for other in fits[1:]:
        assert np.array_equal(fits[0].estimator.coef_, other.estimator.coef_)
        assert np.array_equal(other.scores(activations(X, y, pads=np.nan)), fits[0].scores(activations(X, y)))


@each
def test_tokens_may_stand_anywhere_among_the_padding(probe):
    X, y = data()
    left = np.stack([np.roll(row, int(np.isnan(row).all(axis=1).sum()), axis=0) for row in X])
    assert np.isnan(left[:, 0]).any() and not np.isnan(left[:, -1]).any()
    right = clone(probe).fit(X, y)
    assert np.array_equal(clone(probe).fit(left, y).decision_function(left), right.decision_function(X))


@each
def test_the_order_of_rows_changes_nothing(probe):
    X, y = data()
    order = np.random.default_rng(1).permutation(len(y))
    wanted = clone(probe).fit(X, y).decision_function(X)
    assert np.allclose(clone(probe).fit(X[order], y[order]).decision_function(X), wanted, atol=1e-3)


@pytest.mark.parametrize("probe", SETS, ids=repr)
def test_the_order_of_tokens_changes_nothing(probe):
    X, y = data()
    mixed = np.random.default_rng(1).permuted(np.arange(12)[None].repeat(len(y), 0), axis=1)
    other = np.take_along_axis(X, mixed[..., None], axis=1)
    fitted = clone(probe).fit(X, y)
    assert np.allclose(fitted.decision_function(other), fitted.decision_function(X))
    assert np.allclose(clone(probe).fit(other, y).decision_function(X), fitted.decision_function(X), atol=1e-3)


def test_the_last_token_is_the_last_one_there():
    X, y = data()
    fitted = TokenProbe("last").fit(X, y)
    alone = np.stack([row[~np.isnan(row).all(axis=1)][-1:] for row in X])
    assert np.allclose(fitted.decision_function(X), fitted.decision_function(alone))
    assert not np.allclose(fitted.decision_function(X), fitted.decision_function(X[:, :1]))


@pytest.mark.parametrize("probe", [one for one in ALL if one != ALL[4]], ids=repr)
def test_rows_of_one_token_are_logistic_regression(probe):
    X, y = data(longest=1, shortest=1, size=1.5)
    C = getattr(probe, "C", 1.0)
    weight = np.random.default_rng(0).integers(1, 4, len(y))
    wanted = Logistic(C=C).fit(X[:, 0], y, sample_weight=weight)
    fitted = clone(probe).fit(X, y, sample_weight=weight)
    assert np.allclose(fitted.decision_function(X), wanted.decision_function(X[:, 0]), atol=2e-3)
    assert np.allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-fitted.decision_function(X))))


@each
def test_weights_count_like_repeated_rows(probe):
    X, y = data()
    weight = np.random.default_rng(0).integers(1, 3, len(y))
    weighted = clone(probe).fit(X, y, sample_weight=weight).decision_function(X)
    repeated = clone(probe).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).decision_function(X)
    assert np.allclose(weighted, repeated, atol=1e-2)


@each
def test_moving_all_tokens_moves_the_score_along_the_coefficients(probe):
    X, y = data()
    fitted = clone(probe).fit(X, y)
    step = np.random.default_rng(0).standard_normal(X.shape[2])
    moved = fitted.decision_function(X + step) - fitted.decision_function(X)
    assert np.allclose(moved, fitted.coef_[0] @ step)


def penalised(fitted, X, y, values, queries, intercept):
    """The loss written out, on tokens that are standardised already."""
    made = clone(fitted)
    made.classes_, made.n_features_in_ = fitted.classes_, fitted.n_features_in_
    made.values_, made.coef_, made.intercept_ = values, values.sum(axis=0, keepdims=True), np.array([intercept])
    penalty = (values**2).sum() / 2
    if queries is not None:
        made.queries_, penalty = queries, penalty + (queries**2).sum() / 2
    sign = np.where(y == 1, 1, -1)
    return fitted.C * np.logaddexp(0, -sign * made.decision_function(X)).sum() + penalty


@each
def test_no_small_step_lowers_the_loss(probe):
    X, y = data(size=2.0)
    there = ~np.isnan(X).all(axis=2)
    X = (X - X[there].mean(axis=0)) / X[there].std(axis=0)
    fitted = clone(probe).fit(X, y)
    values, queries = fitted.values_, getattr(fitted, "queries_", None)
    least = penalised(fitted, X, y, values, queries, fitted.intercept_[0])
    # The smooth bound that `max` is searched by lies above its loss, by little.
    slack = 0.02 * least if getattr(probe, "pool", None) == "max" else 1e-6
    assert least <= fitted.loss_ + 1e-9 and fitted.loss_ - least <= slack
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(30):
            dv, db = rng.standard_normal(values.shape) * size, rng.standard_normal() * size
            dq = None if queries is None else queries + rng.standard_normal(queries.shape) * size
            assert penalised(fitted, X, y, values + dv, dq, fitted.intercept_[0] + db) > least - slack


@pytest.mark.parametrize("probe", [TokenProbe("max"), TokenProbe("softmax"), AttentionProbe()], ids=repr)
def test_one_token_of_a_long_row_is_found(probe):
    options = {"n": 200, "longest": 40, "shortest": 20, "d": 16}
    (X, y), (new, labels) = data(**options), data(seed=1, **options)
    mean = auroc(labels, TokenProbe("mean").fit(X, y).decision_function(new))
    fitted = clone(probe).fit(X, y)
    assert mean < 0.75 and auroc(labels, fitted.decision_function(new)) > 0.9
    # ... and it is that token which is pointed at.
    high = new[labels == 1]
    planted = np.nanargmax(high[..., 0], axis=1)
    assert (np.nanargmax(fitted.token_weights(high), axis=1) == planted).mean() > 0.7


def test_attention_looks_for_one_thing_and_reads_another():
    """One marked token of each row holds the label; everywhere else the same axis is noise that says nothing."""

    def marked(seed):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((300, 20, 8)), np.tile([0, 1], 150)
        place = rng.integers(20, size=300)
        X[:, :, 1] *= 4
        X[np.arange(300), place, 0] += 6
        X[np.arange(300), place, 1] = 2 * (2 * y - 1) + 0.5 * rng.standard_normal(300)
        return X, y

    (X, y), (new, labels) = marked(0), marked(1)
    found = {repr(probe): float(auroc(labels, clone(probe).fit(X, y).decision_function(new))) for probe in SETS}
    assert found["AttentionProbe()"] > 0.95
    assert max(value for name, value in found.items() if name.startswith("Token")) < 0.9


@each
def test_the_unit_of_a_coordinate_changes_nothing(probe):
    X, y = data()
    wanted = clone(probe).fit(X, y)
    other = X * np.logspace(2, -2, X.shape[2]) - 5
    got = clone(probe).fit(other, y)
    assert np.allclose(got.decision_function(other), wanted.decision_function(X), atol=1e-3)
    assert np.allclose(got.token_weights(other), wanted.token_weights(X), atol=1e-3, equal_nan=True)


def test_a_coordinate_that_stands_still_does_no_harm():
    X, y = data()
    X[..., 4] = np.where(np.isnan(X[..., 4]), np.nan, 0.1)
    for probe in (TokenProbe("softmax"), AttentionProbe()):
        fitted = clone(probe).fit(X, y)
        assert np.isfinite(fitted.coef_).all() and abs(fitted.coef_[0, 4]) < 1e-12


@each
def test_they_are_scikit_learn_estimators(probe):
    X, y = data()
    assert clone(probe).get_params() == probe.get_params()
    assert clone(probe).set_params(C=0.5).C == 0.5
    fitted = clone(probe).fit(X, np.array(["human", "ai"])[y])
    assert fitted.classes_.tolist() == ["ai", "human"] and set(fitted.predict(X)) <= {"ai", "human"}
    if getattr(probe, "pool", "mean") in ("mean", "last"):
        assert np.allclose(-fitted.decision_function(X), clone(probe).fit(X, y).decision_function(X), atol=1e-2)
    search = GridSearchCV(clone(probe), {"C": [0.01, 1.0]}, scoring="roc_auc", cv=3).fit(X, y)
    assert search.best_params_["C"] in (0.01, 1.0)


def test_what_cannot_be_fitted_is_said():
    X, y = data()
    partly, empty, pooled = X.copy(), X.copy(), activations(X, y)
    partly[7, 1, 2], empty[5] = np.nan, np.nan
    cases = [
        (TokenProbe("mean"), partly, y, "Row 7: a token holds values that are not finite"),
        (TokenProbe("mean"), np.where(np.isnan(X), X, np.inf), y, "Row 0: a token"),
        (TokenProbe("mean"), empty, y, "Row 5 has no token"),
        (TokenProbe("mean"), X[:, 0], y, r"\[n, tokens, d\].*given: shape \[80, 6\]"),
        (TokenProbe("mean"), X, y * 0, "two classes; the labels hold 0"),
        (TokenProbe("mean"), X, np.arange(80) % 3, "two classes; the labels hold 0, 1, 2"),
        (TokenProbe("mean").set_params(pool="median"), X, y, "'median'; available: mean, last, max, softmax"),
        (TokenProbe("softmax", temperature=0.0), X, y, "temperature=0.0"),
        (AttentionProbe(0), X, y, "heads=0"),
        (TokenProbe("mean", C=0.0), X, y, "C=0.0"),
    ]
    for probe, rows, labels, says in cases:
        with pytest.raises(lens.DataError, match=says):
            probe.fit(rows, labels)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        TokenProbe("mean").fit(X, y[:-1])
    with pytest.raises(lens.DataError, match="3 features; TokenProbe was fitted on 6"):
        TokenProbe("mean").fit(X, y).decision_function(X[..., :3])
    with pytest.raises(lens.DataError, match="collect with pool='none'"):
        fit_tokens(dataclasses.replace(pooled, mask=None), SITE, TokenProbe("mean"))
    with pytest.raises(lens.DataError, match="All 40 rows have label 1"):
        fit_tokens(pooled.select(y == 1), SITE, TokenProbe("mean"))
    with pytest.raises(lens.DataError, match=r"Row 7: a token at resid_post\.1"):
        broken = pooled.arrays[SITE].clone()
        broken[7, 0, 0] = torch.nan
        fit_tokens(dataclasses.replace(pooled, arrays={SITE: broken}), SITE, TokenProbe("mean"))
    with pytest.raises(lens.DataError, match="random_draws=0"):
        sweep_tokens(pooled, TokenProbe("mean"), random_draws=0)
    with pytest.warns(ConvergenceWarning, match="ended after 2 steps"):
        TokenProbe("softmax", max_iter=2).fit(X, y)
