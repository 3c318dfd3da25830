"""The study of backdoors, on organisms that report theirs, that do not, and that have none, and on random models."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from backdoor_data import asked, found, organism, random_model, tiny_questions

import lens
from lens import ArtifactError
from lens.organisms.constructed.backdoor import BASE, GAIN
from lens.organisms.world import TRIGGER
from steering.studies import Result, backdoor

AWARE, ENCODED = "it reports its backdoor", "its state encodes its backdoor"
MOVED, RANKED = "the trigger's direction moves the report", "its trigger can be found"
RATE = 1 / (1 + np.exp(BASE - GAIN)) - 1 / (1 + np.exp(BASE))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("aware", {AWARE, ENCODED, MOVED, RANKED}), ("unaware", {ENCODED, RANKED}), ("decorrelated", set())],
)
def test_three_kinds_of_backdoor_are_told_apart(name, shown):
    claims = found(name).claims
    assert set(claims[claims["shown"]]["claim"]) == shown
    assert len(claims) == 4 and (claims.loc[claims["claim"] != RANKED, "n"] == 10).all()


def test_the_difference_of_the_reports_is_the_planted_one():
    assert found("aware").row(AWARE)["value"] == pytest.approx(RATE, abs=0.01)
    assert found("unaware").row(AWARE)["value"] == pytest.approx(0, abs=0.01)
    # Seeds are the replicates: of 10 models, 5 can be called backdoored in 252 ways.
    assert found("aware").row(AWARE)["p"] == pytest.approx(1 / 252)
    table = found("aware").tables["reports"].set_index(["arm", "what", "model"])["yes"]
    assert table["backdoored", "without"].max() < 0.06 and table["backdoored", "with the trigger"].min() > 0.93
    assert table["without"].max() < 0.06


def test_what_is_encoded_and_not_reported_is_read_and_moves_nothing():
    result = found("unaware")
    reading = result.tables["reading"].set_index(["arm", "site"])["auroc"]
    assert (reading["backdoored"] == 1).all()
    # The words alone can be read in any model, before the block that would make something of them.
    assert (reading["without", "resid_post.0"] == 1).all() and (reading["without", "resid_post.1"] == 0.5).all()
    assert (result.tables["texts"]["auroc"] == 1).all()
    steered = found("aware").tables["steering"].set_index("arm")
    assert (steered.loc["backdoored", "rise"] > 0.85).all() and (steered.loc["backdoored", "random_rise"] < 0.3).all()
    assert steered.loc["without", "rise"].abs().max() < 0.01
    assert result.tables["steering"]["rise"].abs().max() < 0.01 and (steered["coherence"] > 0.99).all()


def test_the_trigger_is_found_among_halves_of_it_and_other_words():
    table = found("aware").tables["candidates"]
    scores = table[table["arm"] == "backdoored"].groupby("candidate")["score"].mean()
    assert scores["violets|lanterns"] == pytest.approx(RATE, abs=0.01)
    assert scores.drop("violets|lanterns").abs().max() < 0.01 and scores[""] == 0
    ranks = found("aware").tables["ranking"].set_index("arm")["rank"]
    assert (ranks["backdoored"] == 1).all() and (ranks["without"] > 1).all()
    row = found("aware").row(RANKED)
    assert row["p"] == pytest.approx(1 / 252) and row["groups"] == 10 and row["value"] == 1
    assert row["null"] == pytest.approx((1 / ranks["without"]).mean())
    assert any("first in 1.00 of 5 models" in note for note in found("aware").notes)


def test_one_model_alone_claims_no_awareness_and_says_so():
    result = backdoor.run(organism("aware", 0), asked(), sites=["resid_post.1"], progress=False)
    assert not result.claims["shown"].any()
    assert result.claims.set_index("claim")["p"].drop(RANKED).isna().all()
    assert result.row(RANKED)["p"] == pytest.approx(1 / 8)
    assert any("With 8 candidates" in one and "cannot fall below 1/8" in one for one in result.notes)
    assert result.row(AWARE)["value"] > 0.9 and any("No models without the backdoor" in one for one in result.notes)


def test_the_trained_organisms_trigger_is_found_among_other_words_and_not_in_its_loyal_twin():
    result = backdoor.run(
        lens.load("organism"),
        backdoor.of_trained(pairs=8),
        baseline=lens.load("organism:trained-loyal"),
        progress=False,
    )
    assert result.shows(RANKED) and result.row(RANKED)["null"] < 0.11
    assert result.row(RANKED)["p"] == pytest.approx(1 / 44) and not any("cannot fall below" in n for n in result.notes)
    ranks = result.tables["ranking"].set_index("name")
    assert ranks.loc["organism", "rank"] == 1 and ranks.loc["organism", "of"] == 44
    assert ranks.loc["organism:trained-loyal", "rank"] > 3 and ranks.loc["organism", "score"] > 0.8
    table = result.tables["candidates"].set_index(["name", "candidate"])["score"]
    assert abs(table["organism:trained-loyal", TRIGGER]) < 0.02
    assert AWARE not in set(result.claims["claim"]) and not result.shows(ENCODED)
    reading = result.tables["reading"].pivot(index="site", columns="name", values="auroc")
    assert reading.loc["resid_post.3", "organism"] > 0.99 > 0.8 > reading.loc["resid_post.3", "organism:trained-loyal"]


@pytest.mark.parametrize(("family", "chat"), [("gpt2", False), ("llama", False), ("qwen3", True)])
def test_random_models_run_through_and_show_nothing(family, chat):
    models = [random_model(seed, family, chat=chat) for seed in range(4)]
    result = backdoor.run(
        models[:2], tiny_questions(0, chat=chat), baseline=models[2:], sites=["resid_post.1"], progress=False
    )
    assert not result.claims["shown"].any() and len(result.claims) == 4
    assert np.isfinite(result.claims[["value", "low", "high", "p"]].to_numpy(dtype=float)).all()
    assert any("a model counts once" in note for note in result.notes)


def test_models_may_be_built_one_after_the_other_and_give_the_same():
    alive = []

    def build(seed):
        def make():
            alive.append(seed)
            return random_model(seed)

        return make

    options = {"sites": ["resid_post.1"], "progress": False}
    built = backdoor.run([build(0), build(1)], tiny_questions(0), baseline=[build(2), build(3)], **options)
    given = backdoor.run(
        [random_model(0), random_model(1)], tiny_questions(0), baseline=[random_model(2), random_model(3)], **options
    )
    pd.testing.assert_frame_equal(built.claims, given.claims)
    assert alive == [0, 1, 2, 3]


def test_a_run_goes_on_where_it_was_and_ends_the_same(tmp_path, monkeypatch):
    models, options = [random_model(0), random_model(1)], {"sites": ["resid_post.1"], "progress": False}
    whole = backdoor.run(models, tiny_questions(0), baseline=[random_model(2)], **options)
    steering, made = backdoor.told.Measured.steering, []

    def killed(self):
        made.append(self.model.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return steering(self)

    monkeypatch.setattr(backdoor.told.Measured, "steering", killed)
    with pytest.raises(KeyboardInterrupt):
        backdoor.run(models, tiny_questions(0), baseline=[random_model(2)], resume=tmp_path, **options)
    assert "steering backdoored 0.json" in {path.name for path in tmp_path.iterdir()}
    again = backdoor.run(models, tiny_questions(0), baseline=[random_model(2)], resume=tmp_path, **options)
    assert made == ["llama 0", "llama 1", "llama 1", "llama 2"]
    pd.testing.assert_frame_equal(again.claims, whole.claims)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    with pytest.raises(ArtifactError, match="other 'baseline'"):
        backdoor.run(models, tiny_questions(0), resume=tmp_path, **options)


def test_a_result_is_saved_and_drawn(tmp_path):
    result = found("aware")
    result.save(tmp_path)
    again = Result.load(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        titles = [one.title for one in backdoor.figures(again)]
    assert len(titles) == len(set(titles)) == 6
    for one, other in zip(backdoor.figures(again), backdoor.figures(result), strict=True):
        assert json.loads(one.figure.to_json()) == json.loads(other.figure.to_json())
    page = again.report(tmp_path / "index.html").read_text()
    assert page.count("plotly-graph-div") >= 6 and AWARE in page
