"""Probes from means and covariances: parity with scikit-learn, rows = moments, few rows = many."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier

import lens
import probes
from lens import ClassMoments
from probes import Lat, Lda, MeanDifference, Pca, Ridge
from probes.moment_probe import TwoClasses
from probes.scatter import Scatter

KINDS = [MeanDifference(), MeanDifference(whiten=True), Lda(), Lda(0.3), Lda(0.0), Ridge(), Ridge(50.0), Pca(), Pca(2)]
SHAPES = [(60, 8), (20, 40)]


def data(n=60, d=8, seed=0, share=0.4):
    """Two classes of unequal size, correlated features of different size."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) < share * n).astype(int)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.logspace(-1, 1, d) + 3
    return X + y[:, None] * rng.standard_normal(d) * X.std(axis=0), y


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("shrinkage", [0.01, 0.5, 1.0])
def test_lda_is_scikit_learns(n, d, shrinkage):
    X, y = data(n, d)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, y)
    probe = Lda(shrinkage).fit(X, y)
    assert np.allclose(probe.decision_function(X), reference.decision_function(X), rtol=1e-6, atol=1e-6)
    assert np.allclose(probe.predict_proba(X), reference.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_shrinkage_oas_is_scikit_learns_on_rows_centred_by_class(n, d):
    X, y = data(n, d)
    mean = np.stack([X[y == value].mean(axis=0) for value in (0, 1)])
    reference = OAS(assume_centered=True).fit(X - mean[y]).shrinkage_
    known = TwoClasses((float((y == 0).sum()), float(y.sum())), mean, lambda: Scatter(rows=X - mean[y]))
    assert probes.lda.oas(known) == pytest.approx(reference)


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("alpha", [0.1, 1.0, 100.0])
def test_ridge_is_scikit_learns(n, d, alpha):
    X, y = data(n, d)
    reference = RidgeClassifier(alpha=alpha, solver="svd").fit(X, y)
    assert np.allclose(Ridge(alpha).fit(X, y).decision_function(X), reference.decision_function(X), atol=1e-7)


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("component", [0, 1])
def test_pca_is_scikit_learns_turned_towards_label_1(n, d, component):
    X, y = data(n, d)
    wanted = PCA(component + 1, svd_solver="full").fit(X).components_[component]
    found = Pca(component).fit(X, y).coef_[0]
    assert abs(found @ wanted) == pytest.approx(1.0) and np.linalg.norm(found) == pytest.approx(1.0)
    assert found @ (X[y == 1].mean(axis=0) - X[y == 0].mean(axis=0)) >= 0


def test_whitened_mean_difference_is_lda_without_shrinkage_up_to_the_threshold():
    X, y = data()
    mean, lda = MeanDifference(whiten=True).fit(X, y), Lda(0.0).fit(X, y)
    assert np.allclose(mean.coef_, lda.coef_)
    middle = (X[y == 1].mean(axis=0) + X[y == 0].mean(axis=0)) / 2
    assert mean.decision_function(middle[None])[0] == pytest.approx(0.0, abs=1e-9)


def test_lat_finds_the_direction_along_which_pairs_differ():
    rng = np.random.default_rng(0)
    y = np.tile([1, 0], 100)
    common = np.repeat(rng.standard_normal((100, 6)) * [0, 9, 0, 0, 0, 0], 2, axis=0)
    X = common + 0.3 * rng.standard_normal((200, 6)) + y[:, None] * [2, 0, 0, 0, 0, 0]
    paired, mixed = Lat("ordered").fit(X, y).coef_[0], Lat("random").fit(X, y).coef_[0]
    assert paired[0] > 0.99
    # Random pairs differ most in what the pairs have in common.
    assert abs(mixed[1]) > 0.99
    high, low = X[y == 1], X[y == 0]
    every = (high[:, None] - low[None]).reshape(-1, X.shape[1])
    assert abs(np.linalg.eigh(every.T @ every)[1][:, -1] @ mixed) == pytest.approx(1.0)


@pytest.mark.parametrize("probe", KINDS, ids=repr)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_moments_give_what_rows_give(probe, n, d):
    X, y = data(n, d)
    rows = probe.fit(X, y).decision_function(X)
    moments = ClassMoments.of(torch.from_numpy(X), torch.from_numpy(y), k=2)
    assert np.allclose(probe.fit_moments(moments).decision_function(X), rows, rtol=1e-4, atol=1e-6 * np.abs(rows).max())


@pytest.mark.parametrize("probe", KINDS, ids=repr)
def test_a_weight_of_two_is_a_row_twice(probe):
    X, y = data()
    weight = np.where(np.arange(len(y)) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(y)), weight.astype(int))
    weighted = probe.fit(X, y, sample_weight=weight).decision_function(X)
    assert np.allclose(weighted, probe.fit(X[twice], y[twice]).decision_function(X), rtol=1e-6, atol=1e-7)


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.floats(1e-3, 1e3))
def test_a_scatter_solves_through_rows_as_through_columns(seed, n, d, ridge):
    rng = np.random.default_rng(seed)
    A, b = rng.standard_normal((n, d)), rng.standard_normal(d)
    S = A.T @ A
    wanted = np.linalg.solve(S + ridge * np.eye(d), b)
    for scatter in (Scatter(rows=A), Scatter(matrix=S)):
        assert np.allclose(scatter.solve(b, ridge), wanted, rtol=1e-6, atol=1e-8 * np.linalg.norm(b) / ridge)
        assert scatter.trace == pytest.approx(np.trace(S)) and scatter.trace_of_square == pytest.approx((S**2).sum())
    values, vectors = Scatter(rows=A).eigen()
    assert np.allclose((vectors * values) @ vectors.T, S, atol=1e-8 * max(1.0, values.max()))
    assert np.allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-6)
    assert np.allclose(
        Scatter(rows=A).plus(b).solve(b, ridge), np.linalg.solve(S + np.outer(b, b) + ridge * np.eye(d), b)
    )


def test_a_direction_from_moments_is_that_of_the_rows(planted):
    acts = planted(signal={1: 2.0})
    moments = lens.Moments.of(acts)
    for name in ("mean_difference", "mass_mean", "lda", "ridge", "pca"):
        ours, theirs = probes.fit(acts, "resid_post.1", name), probes.fit(moments, "resid_post.1", name)
        assert torch.allclose(ours.direction.vector, theirs.direction.vector, atol=1e-5)
        for number in ("norm", "bias", "residual_norm", "difference", "neutral"):
            assert getattr(theirs.direction, number) == pytest.approx(
                getattr(ours.direction, number), rel=1e-4, abs=1e-5
            )
        assert theirs.direction.provenance == ours.direction.provenance
        assert theirs.direction.provenance.n == len(acts)


def test_what_cannot_be_fitted_is_said(planted):
    acts = planted(signal={1: 2.0})
    moments = lens.Moments.of(acts)
    with pytest.raises(lens.DataError, match="logistic needs rows, not their moments; available: mean_difference"):
        probes.fit(moments, "resid_post.1", "logistic")
    with pytest.raises(lens.SiteError, match=r"collected: resid_post\.0"):
        probes.fit(moments, "resid_post.9")
    with pytest.raises(lens.DataError, match="classes 0 and 1 are needed"):
        probes.fit(lens.Moments.of(acts, by=None), "resid_post.1")
    X, y = data()
    for wrong, says in ((Lda(2.0), "from 0 to 1"), (Ridge(-1.0), "at least 0"), (Pca(99), "vary in 8 directions")):
        with pytest.raises(lens.DataError, match=says):
            wrong.fit(X, y)
    with pytest.raises(lens.DataError, match="available: random, ordered"):
        Lat("sorted").fit(X, y)
    with pytest.raises(lens.DataError, match="classes of one size, unweighted; given: 36, 24"):
        Lat("ordered").fit(X, y)
