"""Axes and labels: what a model is told as its scores."""

import numpy as np
import pytest

from lens import Site
from lens.errors import DataError
from probes import Direction
from steering.studies.neurofeedback.axes import check_axes, components, fit_axes
from steering.studies.neurofeedback.labels import cuts_of, label_by, levels_of

SITE = Site("resid_post", 1)


@pytest.fixture(scope="module")
def acts(planted):
    return planted(signal={1: 3.0}, groups=40, per_group=4, width=12, layers=2)


def parts(acts):
    return {site: components(acts.numpy(site).astype(float)) for site in acts.sites}


def test_each_axis_is_what_it_is_called(acts):
    axes = fit_axes(acts, ["logistic", "pc1", "pc3", "random"], parts(acts))
    X = acts.numpy(SITE).astype(float)
    assert abs(axes["logistic"][SITE].vector[0]) > 0.9
    _, vectors = np.linalg.eigh(np.cov(X.T))
    for name, k in (("pc1", 1), ("pc3", 3)):
        axis = axes[name][SITE]
        assert abs(axis.vector @ vectors[:, -k]) == pytest.approx(1, abs=1e-6)
        assert axis.score(X).std() == pytest.approx(1) and axis.score(X).mean() == pytest.approx(0, abs=1e-9)
    # The zero of the logistic axis is its own boundary, not the mean; its unit is its spread.
    score = axes["logistic"][SITE].score(X)
    assert score.std() == pytest.approx(1)
    assert ((score > 0) == (acts.labels == 1)).mean() > 0.85
    uneven = acts.select((acts.labels == 1) | (np.arange(len(acts)) % 8 == 0))
    score = fit_axes(uneven, "logistic", parts(uneven))["logistic"][SITE].score(uneven.numpy(SITE).astype(float))
    assert score.mean() > 0.4 and ((score > 0) == (uneven.labels == 1)).mean() > 0.85
    assert np.linalg.norm(axes["random"][SITE].vector) == pytest.approx(1)
    assert axes["random"][SITE].vector == pytest.approx(fit_axes(acts, "random", parts(acts))["random"][SITE].vector)


def test_the_sign_of_a_component_is_the_same_whatever_the_solver_says(acts, monkeypatch):
    X = acts.numpy(SITE).astype(float)
    before, solve = components(X), np.linalg.svd

    def turned(matrix, **options):
        left, size, right = solve(matrix, **options)
        return -left, size, -right

    monkeypatch.setattr(np.linalg, "svd", turned)
    assert (components(X).vectors == before.vectors).all()


def test_components_end_with_the_rank(acts):
    few = acts.select(np.arange(8))
    found = parts(few)
    assert found[SITE].vectors.shape[1] == 7
    assert list(fit_axes(few, "pc", found)) == ["pc1", "pc2", "pc4"]
    with pytest.raises(DataError, match=r"no pc8 at resid_post\.0: the sentences vary in 7 directions"):
        fit_axes(few, ["pc8"], found)


def test_a_direction_is_an_axis_at_its_own_site(acts):
    one = Direction.from_vector(np.eye(12)[0], SITE)
    axes = fit_axes(acts, {"mine": one, "turned": [-one]}, parts(acts))
    X = acts.numpy(SITE).astype(float)
    assert list(axes["mine"]) == [SITE]
    assert axes["mine"][SITE].score(X) == pytest.approx(-axes["turned"][SITE].score(X))
    with pytest.raises(DataError, match=r"lies at resid_post\.9; read are: resid_post\.0, resid_post\.1"):
        fit_axes(acts, {"far": one.at("resid_post.9")}, parts(acts))


def test_mistaken_axes_are_told_by_name(acts):
    for asked, said in (("pca", "Unknown axis 'pca'"), ("pc0", "pc0"), ([], "need names"), (["pc1", "pc1"], "own")):
        with pytest.raises(DataError, match=said):
            check_axes(asked)
    with pytest.raises(DataError, match="has no Direction"):
        check_axes({"mine": []})
    one = acts.select(acts.labels == 1)
    with pytest.raises(DataError, match="both labels; given: all 1"):
        fit_axes(one, "logistic", parts(one))


def test_labels_by_the_median_are_balanced_and_by_zero_follow_the_sign():
    scores = np.r_[np.random.default_rng(0).standard_normal(100) + 0.8]
    median = label_by(scores, cuts_of(scores, "median", name="x"))
    assert median.mean() == 0.5
    zero = label_by(scores, cuts_of(scores, "zero", name="x"))
    assert (zero == (scores >= 0)).all() and zero.mean() > 0.6
    # A score that is exactly the cut belongs to the upper label.
    assert label_by(np.array([0.0, -1e-9]), np.array([0.0])).tolist() == [1, 0]


def test_graded_labels_split_at_zero_into_even_levels_on_both_sides():
    scores = np.random.default_rng(0).standard_normal(400) + 0.5
    labels = label_by(scores, cuts_of(scores, 6, name="x"))
    assert ((labels >= 3) == (scores >= 0)).all()
    for side, levels in ((scores < 0, (0, 1, 2)), (scores >= 0, (3, 4, 5))):
        counts = [int((labels[side] == level).sum()) for level in levels]
        assert max(counts) - min(counts) <= 1
    assert levels_of(6) == 6 and levels_of("zero") == 2


def test_labels_of_one_kind_are_an_error_that_names_the_axis():
    with pytest.raises(DataError, match=r"Axis 'pc7 at resid_post\.2': all labels would be of one kind"):
        cuts_of(np.linspace(1, 2, 20), "zero", name="pc7 at resid_post.2")
    with pytest.raises(DataError, match="Axis 'same': no sentence has label 0"):
        cuts_of(np.ones(20), "median", name="same")
    for wrong in ("mean", 3, 0):
        with pytest.raises(DataError, match=r"available: median, zero, or an even number"):
            levels_of(wrong)
