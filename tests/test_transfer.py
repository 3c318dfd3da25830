"""Transfer: groups that are tested are never learned from, and the matrix and its figures show what carries over."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import lens
import probes
from lens import figures


def renamed(acts, prefix, *, negate=False, arrays=None):
    """The same rows with groups of their own; with `negate`, the label's axis points the other way."""
    frame = acts.examples.frame.assign(group=[f"{prefix}{group}" for group in acts.groups])
    arrays = arrays or {site: -array if negate else array for site, array in acts.arrays.items()}
    return lens.Activations(arrays, acts.norms, lens.Examples(frame), acts.source)


@pytest.fixture(scope="module")
def sets(planted):
    first, second, third = (planted(signal={1: 3.0}, seed=seed) for seed in (0, 1, 2))
    return {"a": renamed(first, "a"), "b": renamed(second, "b"), "turned": renamed(third, "c", negate=True)}


def test_what_is_shared_transfers_and_what_is_turned_round_comes_out_below_chance(sets):
    table = probes.transfer(sets, "resid_post.1").set_index(["train", "test"])
    assert len(table) == 9 and (table["low"] <= table["auroc"]).all() and (table["auroc"] <= table["high"]).all()
    assert table.loc[("a", "b"), "auroc"] > 0.95 and table.loc[("b", "b"), "auroc"] > 0.95
    assert table.loc[("a", "turned"), "auroc"] < 0.05 and table.loc[("turned", "turned"), "auroc"] > 0.95
    assert table.loc[("a", "a"), "shared"] == 30 and table.loc[("a", "b"), "shared"] == 0
    noise = probes.transfer(sets, "resid_post.0").set_index(["train", "test"])
    assert noise["auroc"].between(0.3, 0.7).all()


def test_groups_in_both_sets_are_held_out():
    """Groups with a fingerprint each, one label a group: learned in one format it would be known in the other."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 3)
    prints = rng.standard_normal((40, 64))[group] * 5
    frame = pd.DataFrame({"prompt": [f"t{k}" for k in range(120)], "label": (np.arange(40) % 2)[group], "group": group})
    site, both = lens.Site("resid_post", 0), []
    for k in range(2):
        array = torch.from_numpy(prints + np.random.default_rng(k).standard_normal((120, 64))).float()
        source = lens.activations.Source("m", "m", "prompt[-1]", "mean", "d", {})
        both.append(lens.Activations({site: array}, {site: array.norm(dim=1)}, lens.Examples(frame), source))
    shared = probes.transfer({"a": both[0], "b": both[1]}, site).set_index(["train", "test"])
    assert shared["auroc"].max() < 0.75
    apart = {"a": both[0], "b": renamed(both[1], "other")}
    assert probes.transfer(apart, site).set_index(["train", "test"]).loc[("a", "b"), "auroc"] > 0.95


def test_a_column_names_the_sets(planted):
    acts = planted(signal={1: 3.0}, groups=40)
    frame = acts.examples.frame.assign(topic=np.where(acts.groups % 2 == 0, "even", "odd"))
    whole = lens.Activations(acts.arrays, acts.norms, lens.Examples(frame), acts.source)
    table = probes.transfer(whole, "resid_post.1", "lda", by="topic")
    assert set(table["train"]) == {"even", "odd"} and (table["groups"] == 20).all() and (table["auroc"] > 0.9).all()
    with pytest.raises(lens.DataError, match="No column 'theme' to tell sets apart; available: prompt"):
        probes.transfer(whole, "resid_post.1", by="theme")


def test_what_cannot_be_compared_is_refused(planted, sets):
    other = replace(sets["b"], source=replace(sets["b"].source, fingerprint="another"))
    with pytest.raises(lens.ArtifactError, match="other_model=True"):
        probes.transfer({"a": sets["a"], "b": other}, "resid_post.1")
    assert len(probes.transfer({"a": sets["a"], "b": other}, "resid_post.1", other_model=True)) == 4
    with pytest.raises(lens.ArtifactError, match="equal width are needed; given: 8, 16"):
        probes.transfer({"a": sets["a"], "b": planted(width=8)}, "resid_post.1")
    with pytest.raises(lens.DataError, match="two sets or more; given: a"):
        probes.transfer({"a": sets["a"]}, "resid_post.1")
    with pytest.raises(lens.DataError, match="rows of 'b' have label 1"):
        probes.transfer({"a": sets["a"], "b": sets["b"].select(sets["b"].labels == 1)}, "resid_post.1")
    with pytest.warns(UserWarning, match="few groups have intervals that are too narrow: b"):
        probes.transfer({"a": sets["a"], "b": renamed(planted(groups=10), "z")}, "resid_post.1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probes.transfer(sets, "resid_post.1")


def test_the_transfer_map_has_a_cell_for_each_pair(sets):
    table = probes.transfer(sets, "resid_post.1")
    figure = figures.transfer_map(table)
    values = np.array(figure.data[0].z)
    assert values[0, 1] == table["auroc"][1] and values.shape == (3, 3)
    assert "transfers" in figure.layout.annotations[0].text
    with pytest.raises(lens.DataError, match="'auroc'"):
        figures.transfer_map(table.drop(columns="auroc"))


def test_the_cosine_map_is_the_table():
    named = {k: probes.Direction.from_vector(v, "resid_post.0") for k, v in (("x", [1.0, 0]), ("y", [1.0, 1]))}
    table = probes.cosines(named)
    assert np.array(figures.cosine_map(table).data[0].z) == pytest.approx(table.to_numpy())
    with pytest.raises(lens.DataError, match="square"):
        figures.cosine_map(table.iloc[:1])


def test_the_roc_goes_through_its_corners_and_the_point_is_the_table_s(planted):
    train, test, control = planted(signal={1: 2.0}), planted(signal={1: 2.0}, seed=1), planted(seed=2)
    direction = probes.fit(train, "resid_post.1").direction
    score, labels = direction.score_activations(test).numpy(), test.labels
    passing = direction.score_activations(control).numpy()
    figure = figures.roc_curve(score, labels, control=passing, fpr=0.05)
    x, y = np.array(figure.data[0].x), np.array(figure.data[0].y)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(float(probes.metrics.auroc(labels, score)))
    row = probes.evaluate(direction, test, control=control, fpr=0.05, draws=5).iloc[0]
    assert (figure.data[2].x[0], figure.data[2].y[0]) == pytest.approx((row["flagged"], row["recall"]))
    assert figure.data[2].error_y.array[0] == pytest.approx(row["recall_high"] - row["recall"])
    with pytest.raises(lens.DataError, match="both labels"):
        figures.roc_curve([1.0], [1])


def test_the_reliability_diagram_shows_a_known_miscalibration():
    labels = np.tile([0, 1, 0, 0], 50)
    figure = figures.reliability_diagram(labels, np.full(200, 0.9), bins=4)
    assert list(figure.data[1].x) == pytest.approx([0.9] * 4) and np.mean(figure.data[1].y) == pytest.approx(0.25)
    with pytest.raises(lens.DataError, match="calibrate the scores first"):
        figures.reliability_diagram(labels, np.full(200, 3.0))
