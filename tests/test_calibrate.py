"""Calibration: probabilities that hold, and an error that is judged against that of a perfect probe."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from scipy import special
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

import lens
import probes
from lens import documents
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
    assert not sure.log_odds
    sure = dataclasses.replace(sure, log_odds=True)
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


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibration_is_saved_and_loaded(parts, method, tmp_path):
    fitted, _, held, test = parts
    calibrated = probes.calibrate(fitted, held, method=method)
    loaded = probes.Calibrated.load(calibrated.save(tmp_path / "c.safetensors"))
    assert np.array_equal(loaded.predict(test), calibrated.predict(test))
    assert loaded.method == method and loaded.provenance == calibrated.provenance
    assert loaded.provenance.data == held.source.data and loaded.provenance.n == len(held)
    alone = probes.Direction.load(tmp_path / "c.safetensors")
    assert torch.equal(alone.vector, fitted.direction.vector) and alone.provenance == fitted.direction.provenance


def test_a_file_that_holds_no_calibration_is_refused(parts, tmp_path):
    fitted, _, held, _ = parts
    with pytest.raises(lens.ArtifactError, match="is not a saved calibration; it holds: direction"):
        probes.Calibrated.load(fitted.direction.save(tmp_path / "d.safetensors"))
    with pytest.raises(lens.ArtifactError, match=r"none\.safetensors is not a saved direction"):
        probes.Calibrated.load(tmp_path / "none.safetensors")
    made, path = probes.calibrate(fitted, held), tmp_path / "c.safetensors"
    facts = {"method": "platt", "slope": 1.0, "offset": 0.0, "provenance": {}}
    for wrong, says in (({"format": 9}, "another format"), ({"format": 1, "steep": 2}, "not a saved calibration")):
        header = {"direction": made.direction.header(), "calibration": facts | wrong}
        documents.write(path, {"vector": made.direction.vector}, **header)
        with pytest.raises(lens.ArtifactError, match=says):
            probes.Calibrated.load(path)


def test_a_calibration_belongs_to_the_model_it_was_made_on(planted, parts, tmp_path):
    """A direction carried to another model: what its scores mean there is not what they mean at home."""
    fitted, _, held, test = parts
    there = planted(signal={1: 2.0}, groups=200, seed=3, fingerprint="other")
    carried = probes.calibrate(fitted, there, other_model=True)
    assert carried.provenance.fingerprint == "other"
    loaded = probes.Calibrated.load(carried.save(tmp_path / "c.safetensors"))
    for one in (carried, loaded):
        with pytest.raises(lens.ArtifactError, match=r"calibration was fitted on 'planted'.*other"):
            one.predict(test)
        with pytest.raises(lens.ArtifactError, match="The calibration was fitted on"):
            probes.evaluate(one, test, draws=2)
        assert one.predict(there, other_model=True) == pytest.approx(carried.predict(there, other_model=True))
    with pytest.raises(lens.ArtifactError, match="direction was fitted"):
        probes.calibrate(fitted, held).predict(there)


def test_rows_that_a_probe_was_calibrated_on_are_not_new(parts):
    fitted, _, held, test = parts
    calibrated = probes.calibrate(fitted, held)
    with pytest.warns(UserWarning, match="calibrated on these rows"):
        probes.evaluate(calibrated, held, draws=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.evaluate(calibrated, test, draws=2)
