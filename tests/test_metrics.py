"""Metrics and their uncertainty, against references and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from lens.intervals import group_counts, mean_interval, wilson
from probes.metrics import (
    auroc,
    auroc_interval,
    brier,
    calibration_error,
    p_value,
    permute_labels,
    recall_at_fpr,
)

# Few distinct scores, so that ties are the rule.
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def columns(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    return labels, scores.astype(float)


@given(ROWS)
def test_auroc_equals_scikit_learns_with_ties(rows):
    labels, scores = columns(rows)
    assert float(auroc(labels, scores)) == pytest.approx(roc_auc_score(labels, scores))


@given(ROWS)
def test_auroc_of_many_columns_is_that_of_each(rows):
    labels, scores = columns(rows)
    both = auroc(labels, np.stack([scores, -scores], axis=1))
    assert both == pytest.approx([float(auroc(labels, scores)), 1 - float(auroc(labels, scores))])


def test_all_scores_tied_is_chance():
    assert float(auroc(np.array([0, 1, 1]), np.zeros(3))) == 0.5


@given(ROWS)
def test_a_bootstrap_of_one_row_groups_is_centred_on_the_auroc(rows):
    labels, scores = columns(rows)
    low, high = auroc_interval(labels, scores, np.arange(len(labels)), draws=200)
    assert 0 <= low <= high <= 1


def test_the_weighted_auroc_of_a_resample_equals_the_auroc_of_the_repeated_rows():
    """The interval uses weights instead of repeating rows; with one draw its ends are that draw's AUROC."""
    rng = np.random.default_rng(0)
    labels, scores, groups = rng.integers(0, 2, 60), rng.integers(0, 5, 60).astype(float), np.repeat(np.arange(20), 3)
    for seed in range(5):
        counts = group_counts(groups, 1, seed)[0].astype(int)
        repeated = float(auroc(np.repeat(labels, counts), np.repeat(scores, counts)))
        assert auroc_interval(labels, scores, groups, draws=1, seed=seed) == pytest.approx((repeated, repeated))


def clustered(seed: int, groups: int = 40, size: int = 5, spread: float = 2.0):
    """Rows whose score is mostly their group's, one label per group: 40 independent things, not 200."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    labels = (np.arange(groups) % 2)[group]
    return labels, labels + spread * rng.standard_normal(groups)[group] + rng.standard_normal(groups * size), group


def test_the_cluster_bootstrap_is_wider_than_that_of_rows_for_clustered_data():
    labels, scores, groups = clustered(0)
    low, high = auroc_interval(labels, scores, groups)
    row_low, row_high = auroc_interval(labels, scores, np.arange(len(labels)))
    assert high - low > 1.5 * (row_high - row_low)


def test_the_cluster_bootstrap_covers_the_truth():
    """Nominally 95 %; over 150 data sets of 40 groups anything from 88 % up is compatible with that."""
    truth = float(np.mean([auroc(*clustered(10_000 + seed)[:2]) for seed in range(300)]))
    hits = row_hits = 0
    for seed in range(150):
        labels, scores, groups = clustered(seed)
        low, high = auroc_interval(labels, scores, groups, draws=300)
        hits += low <= truth <= high
        low, high = auroc_interval(labels, scores, np.arange(len(labels)), draws=300)
        row_hits += low <= truth <= high
    assert hits / 150 >= 0.88
    assert row_hits / 150 < 0.75


def test_a_means_interval_leaves_out_missing_values_and_resamples_groups():
    values, groups = np.array([1.0, np.nan, 1.0, 0.0]), np.array([0, 0, 1, 2])
    low, high = mean_interval(values, groups)
    assert 0 <= low < 2 / 3 < high <= 1
    assert mean_interval(np.array([np.nan]), np.array([0])) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert mean_interval(np.ones(4), groups) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Wilson (1927) as tabulated by Newcombe (1998), Statistics in Medicine 17, table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits, n, low, high):
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0.0, 1.0)


@given(ROWS, st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5]))
def test_the_threshold_lets_at_most_the_share_of_controls_pass(rows, control, fpr):
    labels, scores = columns(rows)
    control = np.array(control, dtype=float)
    recall, low, high = recall_at_fpr(scores, labels, control, fpr)
    allowed = int(fpr * len(control) + 1e-9)  # controls that may pass; the threshold may be one control stricter
    ranked, positive = np.r_[np.sort(control)[::-1], -np.inf], scores[labels == 1]
    assert recall <= (positive > ranked[allowed]).mean()
    assert recall >= (positive > ranked[max(allowed - 1, 0)]).mean()
    assert low <= recall <= high


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_the_brier_score_is_scikit_learns(rows):
    labels, probability = (np.array(column) for column in zip(*rows, strict=True))
    assert brier(labels, probability) == pytest.approx(brier_score_loss(labels, probability, pos_label=1))


def test_calibration_error_of_a_known_miscalibration():
    labels = np.tile([0, 1], 500)
    assert calibration_error(labels, np.full(1000, 0.9)) == pytest.approx(0.4)
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    assert calibration_error((rng.random(20_000) < probability).astype(int), probability) < 0.02


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=40), st.integers(0, 20))
def test_permuted_labels_respect_groups(rows, seed):
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    shuffled = permute_labels(labels, groups, seed)
    pure_before, pure_after = [], []
    for group in np.unique(groups):
        before, after = labels[groups == group], shuffled[groups == group]
        if len(set(before)) == 1:  # a group of one class stays one
            assert len(set(after)) == 1
            pure_before.append(before[0])
            pure_after.append(after[0])
        else:  # a mixed group keeps its numbers
            assert sorted(before) == sorted(after)
    assert sorted(pure_before) == sorted(pure_after)


def test_permuted_labels_are_permuted():
    labels, mixed, pure = np.tile([0, 1], 50), np.repeat(np.arange(10), 10), np.arange(100)
    for groups in (mixed, pure):
        shuffled = np.array([permute_labels(labels, groups, seed) for seed in range(200)])
        assert abs(shuffled.mean(axis=0) - 0.5).max() < 0.2


def test_a_permutation_p_value_is_never_zero():
    null = np.array([0.1, 0.2, 0.3])
    assert p_value(null, 0.9) == 1 / 4
    assert p_value(null, 0.2) == 3 / 4
    assert p_value(null, 0.0) == 1.0
