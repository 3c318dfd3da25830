"""probes.evaluate: one direction on unseen rows, beside what it has to beat."""

import numpy as np
import pytest

import lens
import probes


@pytest.fixture(scope="module")
def parts(planted):
    train, test = (planted(signal={1: 2.0}, seed=seed) for seed in (0, 1))
    return train, test, probes.fit(train, "resid_post.1")


@pytest.fixture(scope="module")
def table(parts):
    train, test, fitted = parts
    return probes.evaluate(fitted, test, train=train).set_index("detector")


def test_the_probe_is_scored_on_the_test_rows(parts, table):
    _, test, fitted = parts
    scores = fitted.direction.score_activations(test).numpy()
    assert table.loc["probe", "auroc"] == pytest.approx(float(probes.metrics.auroc(test.labels, scores)))
    assert table.loc["probe", "accuracy"] == pytest.approx(((scores > 0) == test.labels).mean())
    assert table.loc["probe", "low"] < table.loc["probe", "auroc"] < table.loc["probe", "high"]
    assert table.loc["probe", "p"] == 1 / 201


def test_the_baselines_are_at_chance_where_the_text_says_nothing(table):
    for name in ("random_direction", "shuffled_labels", "bag_of_words", "length"):
        assert 0.35 < table.loc[name, "auroc"] < 0.65
    assert table.loc["shuffled_labels", "high"] < table.loc["probe", "auroc"]
    assert table.loc["random_direction", "low"] < table.loc["random_direction", "high"] < table.loc["probe", "auroc"]


def test_a_table_says_where_the_baselines_learned(parts, table):
    _, test, fitted = parts
    assert table.loc["bag_of_words", "baseline"] == "trained where the probe was"
    alone = probes.evaluate(fitted, test).set_index("detector")
    assert alone.loc["bag_of_words", "baseline"] == "cross-validated on these rows"
    assert alone.loc["probe", "auroc"] == table.loc["probe", "auroc"]


def test_baselines_trained_elsewhere_do_not_see_the_test_labels(planted):
    """The words predict the label in the test rows, but the other way round in the training rows."""
    train = planted(signal={1: 2.0}, texts=[f"{'yes' if k % 2 else 'no'} word" for k in range(120)])
    test = planted(signal={1: 2.0}, texts=[f"{'no' if k % 2 else 'yes'} word" for k in range(120)], seed=1)
    fitted = probes.fit(train, "resid_post.1")
    assert probes.evaluate(fitted, test, train=train).set_index("detector").loc["bag_of_words", "auroc"] == 0.0
    assert probes.evaluate(fitted, test).set_index("detector").loc["bag_of_words", "auroc"] == 1.0


def test_the_recall_uses_the_controls_threshold(planted, parts):
    _, test, fitted = parts
    easy, hard = planted(seed=2), planted(signal={1: 4.0}, seed=2)
    rows = {}
    for name, control in (("easy", easy), ("hard", hard)):
        row = probes.evaluate(fitted, test, control=control, fpr=0.05).iloc[0]
        passing = np.sort(fitted.direction.score_activations(control).numpy())
        threshold = passing[-1 - len(passing) // 20]  # of n control rows, n/20 may pass, and not one more
        hits = fitted.direction.score_activations(test).numpy()[test.labels == 1] > threshold
        assert row["recall"] == pytest.approx(hits.mean())
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]
        rows[name] = row["recall"]
    assert rows["hard"] < rows["easy"]
    assert "recall" not in probes.evaluate(fitted, test)


def test_only_log_odds_are_judged_for_calibration(parts):
    train, test, fitted = parts
    assert "brier" not in probes.evaluate(fitted, test)
    for name in ("logistic", probes.Logistic(C=0.1)):
        row = probes.evaluate(probes.fit(train, "resid_post.1", name), test).iloc[0]
        assert 0 < row["brier"] < 0.25 and 0 <= row["ece"] < 0.5


class LogisticByName(probes.MeanDifference):
    """Its scores are no log-odds, whatever it is called."""


class Certain(probes.Lda):
    """Its scores are log-odds, whatever it is called."""


def test_log_odds_are_known_by_their_kind_and_not_by_a_name(parts, tmp_path):
    train, test, _ = parts
    logistic = probes.fit(train, "resid_post.1", "logistic").direction
    other = probes.Direction.from_vector(np.eye(16)[5], "resid_post.1")
    kept = [
        probes.fit(train, "resid_post.1", Certain()),
        -logistic,
        probes.Direction.load(logistic.save(tmp_path / "d.safetensors")),
    ]
    lost = [
        probes.fit(train, "resid_post.1", LogisticByName()),
        2.0 * logistic,
        logistic + logistic,
        logistic.without(other).recentred(train),
        logistic.recentred(train),
        logistic.random_like(0),
        probes.purify(logistic, [other]).direction.recentred(train),
    ]
    assert all("brier" in probes.evaluate(one, test, draws=2, controls=()) for one in kept)
    assert not any("brier" in probes.evaluate(one, test, draws=2, controls=()) for one in lost)


def test_a_direction_is_evaluated_like_the_fitted_probe(parts):
    _, test, fitted = parts
    assert probes.evaluate(fitted.direction, test)["auroc"].equals(probes.evaluate(fitted, test)["auroc"])


def test_another_models_activations_are_refused_and_marked(planted, parts):
    fitted = parts[2]
    elsewhere = planted(signal={1: 2.0}, fingerprint="another")
    with pytest.raises(lens.ArtifactError, match="other_model=True"):
        probes.evaluate(fitted, elsewhere)
    assert probes.evaluate(fitted, elsewhere, other_model=True)["other_model"].all()
    assert not probes.evaluate(fitted, parts[1])["other_model"].any()


def test_one_class_cannot_be_evaluated(parts):
    _, test, fitted = parts
    with pytest.raises(lens.DataError, match="All 60 rows have label 0"):
        probes.evaluate(fitted, test.select(test.labels == 0))


def test_few_groups_are_warned_about(planted, parts):
    with pytest.warns(UserWarning, match="Only 10 groups"):
        probes.evaluate(parts[2], planted(signal={1: 2.0}, groups=10))
