"""Contrast-consistent search: it finds what completions differ in, without labels, and whatever that is."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import check_grad
from sklearn.base import clone

import lens
import probes
from probes import Ccs
from probes.ccs import _loss
from probes.metrics import auroc


def pairs(m=200, d=20, *, truth=2.0, distraction=0.0, seed=0):
    """Questions with a `yes` and a `no` row: truth along the first axis, the completion itself along the second, and,
    along the third, a property in which the completions differ consistently that is not truth."""
    rng = np.random.default_rng(seed)
    true_first = rng.integers(0, 2, m)
    other_first = rng.integers(0, 2, m)
    question = rng.standard_normal((m, d))
    X = np.repeat(question, 2, axis=0) + 0.5 * rng.standard_normal((2 * m, d)) + 3
    y = np.stack([true_first, 1 - true_first], axis=1).ravel()
    other = np.stack([other_first, 1 - other_first], axis=1).ravel()
    X[:, 0] += truth * (2 * y - 1)
    X[:, 1] += np.tile([4.0, -4.0], m)
    X[:, 2] += distraction * (2 * other - 1)
    return X, y, other


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(0)
    features, share = rng.standard_normal((2, 9, 4)), rng.dirichlet(np.ones(9))
    for _ in range(5):
        point = rng.standard_normal(5)
        wrong = check_grad(
            lambda p: _loss(p, features, share, 0.3)[0], lambda p: _loss(p, features, share, 0.3)[1], point
        )
        assert wrong < 1e-6


@pytest.mark.parametrize(("m", "d"), [(200, 20), (60, 200)])
def test_it_finds_truth_without_labels(m, d):
    X, y, _ = pairs(m, d)
    probe = Ccs().fit(X, y)
    held_out, labels, _ = pairs(m, d, seed=1)
    assert auroc(labels, probe.decision_function(held_out)) > 0.95
    assert np.mean(probe.predict(held_out) == labels) > 0.9
    first, second = probe.predict_proba(X)[0::2, 1], probe.predict_proba(X)[1::2, 1]
    assert np.abs(first + second - 1).mean() < 0.2
    # Only the sign comes from the labels.
    opposite = Ccs().fit(X, 1 - y)
    assert np.allclose(opposite.coef_, -probe.coef_) and np.allclose(opposite.intercept_, -probe.intercept_)
    rng = np.random.default_rng(3)
    noisy = np.repeat(rng.random(m) < 0.4, 2) ^ y.astype(bool)
    assert np.allclose(np.abs(Ccs().fit(X, noisy).coef_), np.abs(probe.coef_))


def test_it_does_not_read_which_completion_a_row_is():
    X, y, _ = pairs()
    probe = Ccs().fit(X, y)
    means = X[0::2].mean(axis=0) - X[1::2].mean(axis=0)
    assert abs(probe.coef_[0] @ means) < 1e-9 * np.linalg.norm(means) * np.linalg.norm(probe.coef_)
    score = probe.decision_function(X)
    assert np.mean(score[0::2]) == pytest.approx(np.mean(score[1::2]), abs=1e-9)


def test_without_anything_consistent_it_finds_nothing_that_holds_up():
    X, y, _ = pairs(truth=0.0)
    probe = Ccs().fit(X, y)
    held_out, labels, _ = pairs(truth=0.0, seed=1)
    assert 0.4 < auroc(labels, probe.decision_function(held_out)) < 0.6
    assert probe.loss_ > 1.2 * Ccs().fit(*pairs()[:2]).loss_


def test_it_finds_the_most_pronounced_property_not_truth():
    """The confound: a larger consistent difference draws it away, where a labelled probe stays with truth."""
    X, y, _ = pairs(truth=1.0, distraction=4.0)
    held_out, labels, other = pairs(truth=1.0, distraction=4.0, seed=1)
    found = Ccs().fit(X, y).decision_function(held_out)
    labelled = probes.Lda().fit(X, y).decision_function(held_out)
    assert max(auroc(other, found), auroc(other, -found)) > 0.95 and abs(auroc(labels, found) - 0.5) < 0.1
    assert auroc(labels, labelled) > 0.75


def test_it_is_a_probe_like_the_others():
    X, y, _ = pairs()
    frame = pd.DataFrame({"prompt": [f"{k}" for k in range(len(y))], "label": y, "group": np.arange(len(y)) // 2})
    table, site = lens.Examples(frame), lens.Site("resid_post", 0)
    array = torch.from_numpy(X).float()
    source = lens.activations.Source("made", "made", "prompt[-1]", "mean", table.hash(), {})
    acts = lens.Activations({site: array}, {site: array.norm(dim=1)}, table, source)
    fitted = probes.fit(acts, site, Ccs())
    assert float(fitted.direction.vector[0]) > 0.9
    scores = probes.folds.cross_scores(X, y, probes.folds.grouped_folds(y, acts.groups, 5, 0), Ccs())
    assert auroc(y, scores) > 0.95
    assert clone(Ccs(0.1, restarts=3)).get_params() == {"alpha": 0.1, "restarts": 3, "seed": 0}


def test_what_cannot_be_searched_is_said():
    X, y, _ = pairs()
    ordered = np.tile([1, 0], len(y) // 2)
    cases = [
        (Ccs(), X[:-1], y[:-1], "given: 399 rows"),
        (Ccs(), X, np.roll(y, 1), "both of pair [0-9]+ have the same"),
        (Ccs(), X, ordered, "cannot be told apart"),
        (Ccs(0.0), X, y, "penalty above 0"),
        (Ccs(), np.tile(X[:2], (200, 1)), y, "do not vary"),
    ]
    for probe, rows, labels, says in cases:
        with pytest.raises(lens.DataError, match=says):
            probe.fit(rows, labels)
