"""Sweeps of several classes and of graded targets: each cell is that of the site alone, and p pays for the choice."""

import numpy as np
import pytest
import test_graded
import test_multiclass

import lens
from probes import graded, one_vs_rest, sweep_classes, sweep_graded
from probes.metrics import p_value

QUICK = {"folds": 4, "permutations": 9, "random_draws": 5}
SITES = ["resid_post.0", "resid_post.1"]


def check(table, alone, nulls, value):
    assert table["site"].tolist() == SITES
    assert np.allclose(table[value], alone)
    best = np.max(nulls, axis=0)
    assert table["p"].tolist() == [p_value(best, one) for one in alone]
    assert table["p_cell"].tolist() == [p_value(null, one) for null, one in zip(nulls, alone, strict=True)]
    assert table["p"][1] == 0.1 and table["p"][0] > 0.1 and table[value].idxmax() == 1


def test_classes_are_swept_over_sites():
    acts = test_multiclass.planted()
    found = [one_vs_rest(acts, site, "colour", "mean_difference", **QUICK) for site in SITES]
    table = sweep_classes(acts, "colour", "mean_difference", progress=False, **QUICK)
    alone = [float(one.summary["auroc"].iloc[0]) for one in found]
    check(table, alone, [one.null.mean(axis=1) for one in found], "auroc")
    assert np.allclose(table["matched_high"], [one.table["matched_high"].mean() for one in found])


def test_graded_targets_are_swept_over_sites():
    acts = test_graded.planted()
    found = [graded(acts, site, "level", **QUICK) for site in SITES]
    table = sweep_graded(acts, "level", progress=False, **QUICK)
    check(table, [float(one.table["spearman"].iloc[0]) for one in found], [one.null for one in found], "spearman")


def test_what_cannot_be_swept_is_said():
    acts = test_graded.planted()
    for call, target, probe in ((sweep_graded, "level", "lda"), (sweep_classes, "level", "svm")):
        with pytest.raises(lens.DataError, match=f"'{probe}'.*available"):
            call(acts, target, probe, progress=False)
        with pytest.raises(lens.DataError, match="No probe was given"):
            call(acts, target, [], progress=False)
