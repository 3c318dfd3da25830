"""Sweeps find what is there, do not find what is not, and show what the text alone gives away."""

import dataclasses
import importlib
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lens
import probes
from lens import Site
from probes.folds import grouped_folds

QUICK = {"folds": 5, "permutations": 19, "random_draws": 50, "progress": False}


@pytest.fixture(scope="module")
def found(planted):
    return probes.sweep(planted(signal={1: 3.0}), "mean_difference", **QUICK).set_index("site")


def test_a_planted_layer_is_found(found):
    row = found.loc["resid_post.1"]
    assert row["auroc"] > 0.95 and row["p"] == 1 / 20 and row["accuracy"] > 0.85
    assert row["low"] < row["auroc"] < row["high"]
    assert found["auroc"].idxmax() == "resid_post.1"


def test_layers_without_signal_are_at_chance(found):
    for site in ("resid_post.0", "resid_post.2"):
        assert 0.3 < found.loc[site, "auroc"] < 0.7
        assert found.loc[site, "p"] > 0.05
        assert found.loc[site, "low"] < 0.5 < found.loc[site, "high"] + 0.1


def test_the_controls_are_at_chance_where_they_should_be(found):
    assert 0.35 < found.loc["resid_post.1", "shuffled"] < 0.65
    assert 0.35 < found.loc["resid_post.1", "bag_of_words"] < 0.65
    assert found.loc["resid_post.1", "random_direction"] < found.loc["resid_post.1", "random_high"]
    assert found.loc["resid_post.1", "random_high"] < found.loc["resid_post.1", "auroc"]


def test_a_word_confound_is_shown_by_the_bag_of_words(planted):
    words = [f"it was {'fine' if k % 2 else 'awful'} number{k % 7}" for k in range(120)]
    table = probes.sweep(planted(signal={1: 3.0}, texts=words), "mean_difference", **QUICK)
    assert (table["bag_of_words"] >= table["auroc"].max()).all()


def test_a_spelling_confound_is_shown_by_the_character_ngrams_where_no_word_is_seen_twice(planted):
    letters = np.random.default_rng(0).permutation(list("bcdfghjklmnpqrstvwxz"))
    words = [f"{'oa' if k % 2 else 'ei'}{letters[k % 20]}{letters[(k * 7) % 19]}{k // 20}" for k in range(120)]
    table = probes.sweep(planted(signal={1: 3.0}, texts=words), "mean_difference", **QUICK)
    assert (table["char_ngrams"] > 0.99).all() and (table["bag_of_words"] < 0.65).all()


def test_a_length_confound_is_shown_by_the_length(planted):
    words = ["the same words " * (2 if k % 2 else 1) for k in range(120)]
    table = probes.sweep(planted(signal={1: 3.0}, texts=words), "mean_difference", **QUICK)
    assert (table["length"] == 1.0).all()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 11)), min_size=30, max_size=60), st.integers(2, 5))
def test_folds_never_split_groups_and_cover_every_row_once(rows, folds):
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plan = grouped_folds(labels, groups, folds, seed=0)
        except lens.DataError:
            return
    assert sorted(np.concatenate([test for _, test in plan])) == list(range(len(labels)))
    for train, test in plan:
        assert not set(groups[train]) & set(groups[test])
        assert len(set(labels[train])) == 2


def test_a_signal_that_lives_in_groups_is_not_found_across_them(planted):
    """Each group has its own offset and one label: rows of a group tell of each other, but not of other groups."""
    acts = planted(groups=40, per_group=6, width=64)
    offset = torch.randn(40, 64, generator=torch.Generator().manual_seed(0)).repeat_interleave(6, dim=0) * 10
    labels = np.repeat(np.tile([0, 1], 20), 6)
    frame = acts.examples.frame.assign(label=labels)
    arrays = {site: array + offset for site, array in acts.arrays.items()}
    leaky = lens.Activations(arrays, acts.norms, lens.Examples(frame.assign(group=range(len(frame)))), acts.source)
    honest = lens.Activations(arrays, acts.norms, lens.Examples(frame), acts.source)
    options = {"folds": 5, "permutations": 0, "random_draws": 2, "progress": False}
    assert probes.sweep(leaky, "logistic", **options)["auroc"].max() > 0.9
    assert probes.sweep(honest, "logistic", **options)["auroc"].max() < 0.8


def test_few_groups_are_warned_about_and_too_few_refused(planted):
    with pytest.warns(UserWarning, match="Only 8 groups"):
        probes.sweep(planted(groups=8), "mean_difference", **QUICK)
    with pytest.raises(lens.DataError, match="4 groups cannot make 5 folds"):
        probes.sweep(planted(groups=4), "mean_difference", **QUICK)
    with pytest.raises(lens.DataError, match="'svm'; available"):
        probes.sweep(planted(), "svm", **QUICK)


def test_a_table_says_the_same_twice(planted):
    acts = planted(signal={0: 1.0}, groups=20)
    tables = [probes.sweep(acts, ["logistic"], folds=3, permutations=2, progress=False) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)


def test_best_takes_the_highest_lower_bound(found):
    best = probes.best(found.reset_index())
    assert best.site == Site("resid_post", 1) and best.probe == "mean_difference"
    cells = {"probe": ["a", "b", "c"], "auroc": [0.9, 0.8, 0.8], "low": [0.5, 0.7, 0.7]}
    table = pd.DataFrame({"site": ["resid_post.0", "resid_mid.1", "resid_post.2"]} | cells)
    assert probes.best(table).site == Site("resid_mid", 1)
    with pytest.raises(lens.DataError, match="empty"):
        probes.best(table.iloc[:0])


@pytest.mark.parametrize(
    ("probe", "says"),
    [
        (probes.Logistic(C=0.0), "C=0.0"),
        (probes.KSparse(C=-1.0), "C=-1.0"),
        (probes.Lda(shrinkage=2.0), "shrinkage=2.0"),
        (probes.Ridge(alpha=-1.0), "alpha=-1.0"),
        (probes.Lat("sorted"), "'sorted'"),
        (probes.Mlp(0), "hidden=0"),
        (probes.Ccs(alpha=0.0), "alpha=0.0"),
    ],
    ids=repr,
)
def test_a_parameter_that_cannot_be_is_said_before_anything_is_fitted(probe, says, planted, monkeypatch):
    monkeypatch.setattr(importlib.import_module("probes.sweep"), "run", lambda *_, **__: pytest.fail("it began"))
    with pytest.raises(lens.DataError, match=says):
        probes.sweep(planted(), ["mean_difference", probe], **QUICK)


def test_an_estimator_of_the_users_own_is_swept_too(planted):
    table = probes.sweep(planted(signal={1: 3.0}), probes.Logistic(C=0.1), folds=3, permutations=1, progress=False)
    assert table["probe"].unique().tolist() == ["Logistic(C=0.1)"]


def test_a_killed_sweep_goes_on_where_it_was_and_says_the_same(planted, tmp_path, monkeypatch):
    module = importlib.import_module("probes.sweep")  # the package's own `sweep` is the function
    acts, options = planted(signal={1: 2.0}), {"folds": 3, "permutations": 2, "random_draws": 5, "progress": False}
    whole = probes.sweep(acts, "mean_difference", **options)
    done, original = [], module.measure_cells

    def dying(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return original(*given)

    monkeypatch.setattr(module, "measure_cells", dying)
    with pytest.raises(KeyboardInterrupt):
        probes.sweep(acts, "mean_difference", resume=tmp_path, **options)
    assert len(list(tmp_path.glob("*.json"))) == 5  # three sites' controls and two cells
    done.clear()
    pd.testing.assert_frame_equal(probes.sweep(acts, "mean_difference", resume=tmp_path, **options), whole)
    assert len(done) == 1
    monkeypatch.setattr(module, "measure_cells", lambda *given: pytest.fail("a finished cell was run again"))
    pd.testing.assert_frame_equal(probes.sweep(acts, "mean_difference", resume=tmp_path, **options), whole)


def test_a_folder_of_finished_cells_is_not_taken_for_other_rows_or_settings(planted, tmp_path):
    options = {"folds": 3, "permutations": 2, "random_draws": 5, "progress": False}
    first = probes.sweep(planted(signal={1: 2.0}), "mean_difference", resume=tmp_path, **options)
    for acts, change in (
        (planted(signal={1: 2.0}), {"folds": 4}),
        (planted(signal={1: 2.0}), {"seed": 1}),
        (planted(signal={1: 2.5}), {}),  # the same table of examples, other activations
    ):
        fresh = probes.sweep(acts, "mean_difference", **(options | change))
        again = probes.sweep(acts, "mean_difference", resume=tmp_path, **(options | change))
        pd.testing.assert_frame_equal(fresh, again)
        assert not fresh["auroc"].equals(first["auroc"])


def test_several_processes_say_the_same_as_one(planted):
    options = {"folds": 3, "permutations": 1, "random_draws": 5, "progress": False}
    acts = planted(signal={1: 2.0}, layers=2)
    pd.testing.assert_frame_equal(
        probes.sweep(acts, "mean_difference", jobs=2, **options), probes.sweep(acts, "mean_difference", **options)
    )


def test_several_spans_are_swept_together_and_all_are_paid_for(planted):
    options = {"folds": 3, "permutations": 9, "random_draws": 5, "progress": False}
    last = planted(signal={1: 2.0})
    other = dataclasses.replace(planted(signal={0: 0.5}), source=dataclasses.replace(last.source, span="prompt"))
    table = probes.sweep([last, other], "mean_difference", **options)
    assert table["span"].tolist() == ["prompt[-1]"] * 3 + ["prompt"] * 3
    assert probes.best(table).span == "prompt[-1]" and probes.best(table).site == Site("resid_post", 1)
    alone = probes.sweep(other, "mean_difference", **options)
    assert (table["p"].to_numpy()[3:] >= alone["p"].to_numpy()).all()
    with pytest.raises(lens.DataError, match="differ in span or pool"):
        probes.sweep([last, last], "mean_difference", **options)
    with pytest.raises(lens.DataError, match="from several sets"):
        fewer = dataclasses.replace(other.select(range(100)))
        probes.sweep([last, fewer], "mean_difference", **options)


def test_a_backend_that_gives_results_back_together_says_the_same_and_keeps_what_is_finished(
    planted, tmp_path, monkeypatch
):
    """As joblib's Ray backend does (test_cluster.py, slow)."""
    module = importlib.import_module("probes.cell")
    acts, options = planted(signal={1: 2.0}), {"folds": 3, "permutations": 2, "random_draws": 5, "progress": False}
    alone = probes.sweep(acts, ["mean_difference", "logistic"], **options)
    together, kept = [], []

    class Together(module.Parallel):
        def __call__(self, calls):
            kept.append(len(list(tmp_path.glob("*.json"))))
            together.append(len(calls))
            return super().__call__(calls)

    monkeypatch.setattr(module, "get_active_backend", lambda: (type("", (), {"supports_return_generator": False}), 1))
    monkeypatch.setattr(module, "Parallel", Together)
    shared = probes.sweep(acts, ["mean_difference", "logistic"], resume=tmp_path, **options)
    pd.testing.assert_frame_equal(shared, alone)
    assert together == [4, 4, 1] and kept == [0, 4, 8]


def test_such_a_backend_is_given_so_many_at_a_time_as_its_processes_can_take(planted, monkeypatch):
    module, given = importlib.import_module("probes.cell"), []

    class Together(module.Parallel):
        def __call__(self, calls):
            given.append((self.n_jobs, len(calls)))
            return super().__call__(calls)

    monkeypatch.setattr(module, "get_active_backend", lambda: (type("", (), {"supports_return_generator": False}), 1))
    monkeypatch.setattr(module, "Parallel", Together)
    options = {"folds": 3, "permutations": 0, "random_draws": 2, "progress": False}
    with joblib.parallel_config(backend="threading"):
        probes.sweep(planted(), ["mean_difference", "logistic"], jobs=2, **options)
    assert given == [(2, 8), (2, 1)]
