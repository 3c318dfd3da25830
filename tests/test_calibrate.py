"""Calibration: probabilities that hold, and an error that is judged against that of a perfect probe."""

import warnings

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

import lens
import probes
from probes.calibrate import platt
from probes.metrics import brier, calibrated_errors, calibration_error


@pytest.fixture(scope="module")
def parts(planted):
    train, held, test = (planted(signal={1: 2.0}, groups=200, seed=seed) for seed in (0, 1, 2))
    return probes.fit(train, "resid_post.1"), train, held, test


def test_platts_numbers_are_those_of_a_planted_sigmoid():
    rng = np.random.default_rng(0)
    scores = 5 * rng.standard_normal(20_000) + 3
    labels = (rng.random(20_000) < special.expit(0.7 * scores - 1.5)).astype(int)
    assert platt(scores, labels) == pytest.approx((0.7, -1.5), abs=0.08)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_is_scikit_learns(parts, method):
    fitted, _, held, test = parts
    names = {"platt": "sigmoid", "isotonic": "isotonic"}
    reference = CalibratedClassifierCV(FrozenEstimator(fitted.estimator), method=names[method])
    reference.fit(held.numpy("resid_post.1").astype(float), held.labels)
    own = probes.calibrate(fitted, held, method=method).predict(test)
    assert own == pytest.approx(reference.predict_proba(test.numpy("resid_post.1").astype(float))[:, 1], abs=2e-3)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibrated_probabilities_hold_on_new_rows_where_raw_scores_do_not(parts, method):
    fitted, _, held, test = parts
    raw = special.expit(10 * fitted.direction.score_activations(test).double().numpy())
    calibrated = probes.calibrate(fitted, held, method=method)
    row = probes.evaluate(calibrated, test, draws=100).iloc[0]
    assert row["ece"] < calibration_error(test.labels, raw) and row["brier"] < brier(test.labels, raw)
    assert row["ece"] < 2.5 * row["ece_null"]
    assert row["auroc"] == probes.evaluate(fitted, test, draws=5).iloc[0]["auroc"]


def test_a_too_sure_probe_is_told_from_a_calibrated_one(parts):
    fitted, train, held, test = parts
    sure = probes.fit(train, "resid_post.1", "logistic").direction * 8.0
    sure = lens.activations.replace(sure, provenance=lens.activations.replace(sure.provenance, method="logistic"))
    assert probes.evaluate(sure, test, draws=100).iloc[0]["ece_p"] == pytest.approx(1 / 101)
    assert probes.evaluate(probes.calibrate(fitted, held), test, draws=100).iloc[0]["ece_p"] > 0.01


def test_the_error_of_a_perfect_probe_is_what_it_is_expected_to_be():
    """Labels drawn from the probabilities: the observed error lies among the simulated ones, and p is uniform."""
    rng, found = np.random.default_rng(0), []
    for seed in range(100):
        probability = rng.random(100)
        labels = (rng.random(100) < probability).astype(int)
        null = calibrated_errors(probability, draws=60, seed=seed)
        found.append((calibration_error(labels, probability), null.mean()))
    observed, expected = np.array(found).T
    assert observed.mean() == pytest.approx(expected.mean(), rel=0.06) and expected.mean() > 0.08


def test_calibration_says_what_it_cannot_do(parts):
    fitted, train, held, _ = parts
    with pytest.warns(UserWarning, match="calibrated on the rows it was fitted on"):
        probes.calibrate(fitted, train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.calibrate(fitted.direction, held)
    with pytest.raises(lens.DataError, match="nothing to calibrate"):
        probes.calibrate(-fitted.direction, held)
