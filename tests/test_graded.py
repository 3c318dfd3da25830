"""Graded targets: the honest table of what ridge and ordinal regression read."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lens
from probes.folds import grouped_folds
from probes.graded import graded, spearman
from probes.ordinal import Ordinal
from probes.ridge_regression import RidgeRegression

QUICK = {"folds": 4, "permutations": 19, "random_draws": 20}


def planted(*, slope=1.0, groups=42, per_group=4, width=16, seed=0, pure=False, texts=None):
    """Levels −3 … 3 along coordinate 0 of block 1; block 0 is noise. pure: one level per group."""
    rng = np.random.default_rng(seed)
    n = groups * per_group
    group = np.repeat(np.arange(groups), per_group)
    level = (group if pure else np.arange(n)) % 7 - 3
    X = rng.standard_normal((n, width))
    X[:, 0] += slope * level
    arrays = {
        lens.Site("resid_post", 0): torch.from_numpy(rng.standard_normal((n, width))).float(),
        lens.Site("resid_post", 1): torch.from_numpy(X).float(),
    }
    words = texts or [f"word{k}" for k in rng.integers(0, 5, n)]
    table = lens.Examples(pd.DataFrame({"prompt": words, "group": group, "level": level}))
    norms = {site: array.norm(dim=1) for site, array in arrays.items()}
    source = lens.activations.Source("planted", "planted", "prompt[-1]", "mean", table.hash(), {})
    return lens.Activations(arrays, norms, table, source)


@pytest.mark.parametrize("probe", ["ridge", Ordinal(0.1)], ids=["ridge", "ordinal"])
@pytest.mark.parametrize("pure", [False, True])
def test_a_planted_level_is_read_and_beats_its_controls(probe, pure):
    acts = planted(pure=pure)
    found = graded(acts, "resid_post.1", "level", probe, **QUICK)
    table = found.table.set_index("detector")
    row = table.loc["probe"]
    assert row["spearman"] > 0.8 and row["p"] == 0.05 and row["low"] < row["spearman"] < row["high"]
    assert 0.6 < row["r2"] < 1 and row["r2_low"] < row["r2"] < row["r2_high"]
    others = ["shuffled", "random_direction", "matched_direction", "bag_of_words", "char_ngrams", "length"]
    assert (table.loc[others, "high"] < row["low"]).all() and abs(table.loc["shuffled", "spearman"]) < 0.15
    assert found.levels["target"].tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert found.levels["predicted"].is_monotonic_increasing and (found.levels["n"] == 24).all()


def test_the_direction_scores_above_0_where_there_is_more_than_average():
    acts = planted()
    direction = graded(acts, "resid_post.1", "level", **QUICK).direction
    assert float(direction.vector[0]) > 0.9
    level = acts.examples.frame["level"].to_numpy()
    scores = direction.score_activations(acts).numpy()
    assert scores[level > 0].mean() > 0.5 and scores[level < 0].mean() < -0.5 and abs(scores.mean()) < 1e-3
    X = acts.numpy("resid_post.1").astype(float)
    assert np.allclose(scores, RidgeRegression().fit(X, level).predict(X) - level.mean(), atol=1e-4)
    gap = X[level > 0].mean(axis=0) - X[level <= 0].mean(axis=0)
    assert direction.difference == pytest.approx(np.linalg.norm(gap), rel=1e-4)
    assert direction.provenance.method == "RidgeRegression() (level)" and direction.provenance.n == len(acts)


@pytest.mark.parametrize("pure", [False, True])
def test_where_there_is_nothing_nothing_is_found(pure):
    row = graded(planted(pure=pure), "resid_post.0", "level", **QUICK).table.iloc[0]
    assert abs(row["spearman"]) < 0.3 and row["p"] > 0.05 and row["r2"] < 0.05 and row["low"] < 0.05


def test_out_of_fold_figures_are_scikit_learns():
    acts = planted()
    row = graded(acts, "resid_post.1", "level", **QUICK | {"permutations": 0}).table.iloc[0]
    X, y = acts.numpy("resid_post.1").astype(float), acts.examples.frame["level"].to_numpy(dtype=float)
    plan = grouped_folds((y > 0).astype(int), acts.groups, 4, 0)
    predicted = cross_val_predict(make_pipeline(StandardScaler(), Ridge(alpha=100.0)), X, y, cv=plan)
    assert row["spearman"] == pytest.approx(spearmanr(y, predicted).statistic)
    assert row["r2"] == pytest.approx(r2_score(y, predicted), abs=0.01) and np.isnan(row["p"])
    frame = acts.examples.frame.assign(level=3 * y + 100)
    moved = lens.Activations(acts.arrays, acts.norms, lens.Examples(frame), acts.source)
    again = graded(moved, "resid_post.1", "level", **QUICK | {"permutations": 0}).table.iloc[0]
    assert again["r2"] == pytest.approx(row["r2"]) and again["spearman"] == pytest.approx(row["spearman"])


@pytest.mark.slow
def test_the_nulls_false_positive_rate_is_kept():
    """100 sets of noise with one level per group: p ≤ .1 in a tenth of them, by what a binomial allows."""
    options = {"folds": 3, "permutations": 9, "random_draws": 1}
    p = [
        graded(planted(pure=True, groups=24, per_group=2, seed=seed), "resid_post.0", "level", **options)
        .table["p"]
        .iloc[0]
        for seed in range(100)
    ]
    assert np.mean(np.array(p) <= 0.1) <= 0.1 + 2 * (0.1 * 0.9 / 100) ** 0.5 and 0.4 < np.mean(p) < 0.7


def test_a_level_that_the_text_names_is_shown_by_the_text():
    words = ["low low", "low", "rather low", "so so", "rather high", "high", "high high"]
    table = graded(planted(texts=words * 24), "resid_post.1", "level", **QUICK).table.set_index("detector")
    assert table.loc["bag_of_words", "spearman"] > 0.8


def read(examples, *sites):
    return lens.collect(lens.load("organism"), examples, sites=list(sites), span="prompt[-1]", progress=False)


def test_trait_levels_of_the_trained_organism_are_in_order_in_words_it_was_not_fitted_on():
    levels = lens.data.load("warmth").where(persona="level")
    train, test = (read(levels.where(held_out=words), "resid_post.2") for words in ("none", "synonym"))
    found = graded(train, "resid_post.2", "level", **QUICK | {"permutations": 0})
    assert found.table["spearman"].iloc[0] > 0.9 and found.levels["predicted"].is_monotonic_increasing
    level = test.examples.frame["level"].to_numpy(dtype=float)
    scores = found.direction.score_activations(test).numpy().astype(float)
    assert float(spearman(level, scores)) > 0.9
    assert np.all(np.diff([scores[level == one].mean() for one in (-3, -2, 2, 3)]) > 0)


def test_how_often_a_person_was_read_about_is_known_in_the_last_block_and_not_in_the_first():
    """Nothing in the names tells: the text is at chance, and so is the first block."""
    acts = read(lens.data.load("knowing").where(standing="documents"), "resid_post.0", "resid_post.3")
    first, last = (graded(acts, site, "frequency", **QUICK).table.set_index("detector") for site in acts.sites)
    assert last.loc["probe", "spearman"] > 0.5 and last.loc["probe", "p"] == 0.05 and last.loc["probe", "r2_low"] > 0.2
    assert first.loc["probe", "p"] > 0.05 and first.loc["probe", "r2"] < 0
    assert (last.loc[["bag_of_words", "char_ngrams", "length"], "high"] < last.loc["probe", "low"]).all()


def test_what_cannot_be_graded_is_said():
    acts = planted()
    frame = acts.examples.frame

    def with_level(values):
        return lens.Activations(acts.arrays, acts.norms, lens.Examples(frame.assign(level=values)), acts.source)

    cases = [
        (acts, "warmth", "No column 'warmth' to predict; available: prompt, group"),
        (with_level(frame["level"].where(frame.index != 3)), "level", "missing in 1 rows .the first is row 3"),
        (with_level("high"), "level", "must hold numbers; it holds high"),
        (with_level(frame["level"] > 0), "level", "three values or more"),
        (with_level(frame["level"] / 0.0), "level", "is missing|not finite"),
    ]
    for given_acts, target, says in cases:
        with pytest.raises(lens.DataError, match=says):
            graded(given_acts, "resid_post.1", target, **QUICK)
    with pytest.raises(lens.SiteError, match=r"collected: resid_post\.0"):
        graded(acts, "resid_post.9", "level", **QUICK)
    still = {site: torch.ones_like(array) for site, array in acts.arrays.items()}
    flat = lens.Activations(still, acts.norms, acts.examples, acts.source)
    with pytest.raises(lens.DataError, match="nothing there goes along with the target"):
        graded(flat, "resid_post.1", "level", **QUICK | {"permutations": 0, "random_draws": 1})
