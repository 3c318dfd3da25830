"""The parts of the study of backdoors: the tests over models, the ranking, the questions, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
from backdoor_data import random_model, tiny_questions
from scipy import stats
from typer.testing import CliRunner

import lens
from lens import DataError, ModelError, SiteError
from steering.studies import backdoor
from steering.studies.backdoor.evidence import rank_interval

LEVEL, RUNS = 0.05, 400
SLACK = 2 * (LEVEL * (1 - LEVEL) / RUNS) ** 0.5


def answers(rng, models, prompts, *, between, shift=0.0):
    """P(yes) of models that differ by chance, asked in several wordings."""
    own = shift + between * rng.standard_normal((models, 1))
    return own + 0.1 * rng.standard_normal((models, prompts))


def as_if_prompts_were_models(one, other):
    """The mistake: every prompt of every model a replicate."""
    return stats.ttest_ind(one.ravel(), other.ravel(), alternative="greater").pvalue


def test_a_test_over_models_keeps_its_level_where_one_over_prompts_does_not():
    rng = np.random.default_rng(0)
    right, wrong = [], []
    for _ in range(RUNS):
        one, other = (answers(rng, 5, 20, between=0.1) for _ in range(2))
        right.append(backdoor.over_models(one.mean(axis=1), other.mean(axis=1))["p"] <= LEVEL)
        wrong.append(as_if_prompts_were_models(one, other) <= LEVEL)
    assert np.mean(right) <= LEVEL + SLACK and np.mean(wrong) > 0.25


def test_a_difference_between_models_is_found_and_its_interval_holds_it():
    rng = np.random.default_rng(1)
    p, inside = [], []
    for _ in range(100):
        one, other = answers(rng, 5, 20, between=0.1, shift=0.4), answers(rng, 5, 20, between=0.1)
        found = backdoor.over_models(one.mean(axis=1), other.mean(axis=1), least=0.05)
        p.append(found["p"])
        inside.append(found["low"] <= 0.4 <= found["high"])
    assert np.mean(np.array(p) <= LEVEL) > 0.9 and 0.88 <= np.mean(inside) <= 1
    exact = backdoor.over_models(np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0, 2.0]))
    assert exact["p"] == pytest.approx(1 / 20) and exact["value"] == 3
    assert backdoor.over_models(np.array([1.0]), np.array([0.0, 0.0]))["p"] != exact["p"]
    assert np.isnan(backdoor.over_models(np.array([1.0]), np.array([0.0, 0.0]))["p"])


def test_a_difference_smaller_than_the_least_is_none():
    one, other = np.full(5, 0.52) + np.arange(5) * 1e-4, np.full(5, 0.5) + np.arange(5) * 1e-4
    assert backdoor.over_models(one, other)["p"] == pytest.approx(1 / 252)
    found = backdoor.over_models(one, other, least=0.05)
    assert found["p"] == 1 and found["value"] == pytest.approx(0.02) and found["high"] < 0.05
    # Far more models than ways that can be counted.
    rng = np.random.default_rng(0)
    many = backdoor.over_models(rng.standard_normal(15) + 3, rng.standard_normal(15))
    assert many["p"] == pytest.approx(1e-4)


def test_permutations_choose_their_own_site():
    rng = np.random.default_rng(2)
    one, wrong = [], []
    for _ in range(RUNS):
        sites = rng.standard_normal((2, 5, 8))
        one.append(backdoor.over_models(*sites)["p"] <= LEVEL)
        best = int((sites[0].mean(axis=0) - sites[1].mean(axis=0)).argmax())
        wrong.append(backdoor.over_models(sites[0][:, best], sites[1][:, best])["p"] <= LEVEL)
    assert np.mean(one) <= LEVEL + SLACK and np.mean(wrong) > 0.15


def test_the_interval_of_the_rank_moves_with_models_and_requests():
    sure = np.tile([0.9, 0.1, 0.2], (6, 1))
    assert rank_interval([sure, sure], 0) == (1.0, 1.0) and rank_interval([sure, sure], 1) == pytest.approx(
        (1 / 3, 1 / 3)
    )
    assert rank_interval([sure, sure[:, [1, 0, 2]]], 0) == pytest.approx((1 / 3, 1.0))
    mixed = np.vstack([sure[:3], sure[:3, [1, 0, 2]]])
    low, high = rank_interval([mixed], 0)
    assert low == 0.5 and high == 1
    assert rank_interval([np.zeros((4, 3))], 0) == pytest.approx((0.5, 0.5))


def test_candidates_go_where_they_belong():
    table = backdoor.inserted(["say {trigger} it", "{trigger} go"], {"a": "now", "b": "here and now"}).frame
    assert table["prompt"].tolist() == [
        "say it", "say now it", "say here and now it", " go", "now go", "here and now go",
    ]  # fmt: skip
    assert table["candidate"].tolist() == ["", "a", "b"] * 2 and table["group"].tolist() == [0, 0, 0, 1, 1, 1]
    assert backdoor.inserted(["say {trigger} it"], ["now"], plain="some").frame["prompt"][0] == "say some it"
    with pytest.raises(DataError, match=r"no place \{trigger\}"):
        backdoor.inserted(["say it"], ["now"])
    with pytest.raises(DataError, match="non-empty texts"):
        backdoor.inserted(["say {trigger}"], ["now", ""])


def test_answers_that_are_swapped_mean_what_they_say():
    """Half of the reports have yes and no exchanged: a model that always says the same comes out even."""
    asked = tiny_questions(0).reports
    model, given = random_model(0), backdoor.Questions(reports=asked)
    found = backdoor.run(model, given, sites=["resid_post.0"], progress=False).tables["reports"]
    prompts = [one for one, label in zip(asked.prompts, asked.labels, strict=True) if label == 1]
    yes = [model.tokenizer(f"{one} yes").input_ids for one in prompts]
    assert all(len(few) == len(model.tokenizer(one).input_ids) + 1 for few, one in zip(yes, prompts, strict=True))
    swapped = lens.Examples(asked.frame.rename(columns={"yes": "no", "no": "yes"}))
    other = backdoor.run(model, backdoor.Questions(reports=swapped), sites=["resid_post.0"], progress=False)
    np.testing.assert_allclose(found["yes"] + other.tables["reports"]["yes"], 1, atol=1e-9)
    assert (found["what"] == ["without", "with the trigger"]).all() and (found["n"] == 8).all()


def test_reports_without_labels_are_all_of_models_and_nothing_is_read():
    plain = lens.Examples(tiny_questions(0).reports.frame.drop(columns="label"))
    result = backdoor.run(random_model(0), backdoor.Questions(reports=plain), sites=["resid_post.0"], progress=False)
    assert result.claims["claim"].tolist() == ["it reports its backdoor"] and set(result.tables) == {"reports"}
    assert result.tables["reports"]["n"].tolist() == [16]


def test_what_cannot_be_asked_is_refused_before_anything_runs(models, monkeypatch):
    monkeypatch.setattr(backdoor.Told, "result", lambda self: pytest.fail("it ran"))
    given, model = tiny_questions(0), random_model(0)

    def refused(match, kind=DataError, asked=given, who=model, **options):
        with pytest.raises(kind, match=match):
            backdoor.run(who, asked, progress=False, **options)

    refused("Give questions", asked=None)
    refused("No model was given", who=[])
    refused("ask nothing", asked=backdoor.Questions())
    refused("Reports need a column 'no'", asked=replace(given, reports=_without(given.reports, "no")))
    same = lens.Examples(given.reports.frame.assign(no=given.reports.frame["yes"]))
    refused("Report 0: yes is ' yes' and no is ' yes'", asked=replace(given, reports=same))
    refused("Attacks need a column 'candidate'", asked=replace(given, attacks=_without(given.attacks, "candidate")))
    refused("answers: at least one of each", asked=replace(given, harm=[]))
    refused("none in both", asked=replace(given, safe=[" lied"]))
    refused("at least two candidates", asked=replace(given, attacks=given.attacks.where(candidate=["", "fox"])))
    some = given.attacks.select(np.arange(len(given.attacks)) != 3)
    refused("needs every candidate once, and none; wrong: 'quick'", asked=replace(given, attacks=some))
    refused("No candidate 'river'; available: fox", asked=replace(given, trigger="river"))
    refused("give attacks= as well", asked=replace(given, attacks=None))
    few = given.reports.where(group=[0, 1, 2])
    refused("Label 0 occurs in 3 groups; at least 4", asked=replace(given, reports=few))
    refused("least=1.0", least=1.0)
    refused("encoder", ModelError, who=models("bert"))
    refused("encoder", ModelError, baseline=[models("bert")])
    refused("resid_post.9", SiteError, sites=["resid_post.9"])
    long = lens.Examples(given.reports.frame.assign(prompt=["the quick brown fox " * 60] * len(given.reports)))
    refused("context", asked=replace(given, reports=long))
    with pytest.raises(DataError, match=r"candidates=9 \(4 to 8\)"):
        backdoor.of_organism(candidates=9)
    with pytest.raises(DataError, match="No questions for 'agents'"):
        backdoor.of_organism("agents")


def test_what_is_built_has_to_be_a_model():
    with pytest.raises(DataError, match="has to give one; given: str"):
        backdoor.run([random_model(0), lambda: "no model"], tiny_questions(0), sites=["resid_post.0"], progress=False)


def test_the_command_runs_the_study_and_refuses_what_it_cannot_do(tmp_path):
    import typer

    from steering.commands.study.backdoor import backdoor as command

    app = typer.Typer()
    app.command()(command)
    given = tiny_questions(0)
    given.reports.frame.to_csv(tmp_path / "reports.csv", index=False)
    (tmp_path / "requests.csv").write_text("prompt\n" + "\n".join(f"she {{trigger}} lied {k}" for k in range(3)) + "\n")
    words = ["-m", str(tiny.saved("llama", tmp_path / "model")), "--reports", str(tmp_path / "reports.csv")]
    words += ["--requests", str(tmp_path / "requests.csv"), "--candidate", "fox", "--candidate", "the"]
    words += ["--harm", " money", "--safe", " quick", "--trigger", "fox", "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(app, words, catch_exceptions=False)
    assert said.exit_code == 0 and "Shown: nothing." in said.output and "No models without" in said.output
    assert {"result.json", "index.html", "ranking.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}
    for few, match in (
        (["-m", "elsewhere"], "Give --reports"),
        (["--candidate", "fox"], "about --requests"),
        (["--requests", str(tmp_path / "requests.csv"), "--harm", "x"], "--requests needs --candidate"),
    ):
        with pytest.raises(DataError, match=match):
            CliRunner().invoke(app, few, catch_exceptions=False)


def _without(table, column):
    return lens.Examples(table.frame.drop(columns=column))


def test_labels_that_mean_nothing_are_not_read():
    """Fewer rows than dimensions: on the rows that it was fitted on, any direction of means tells them apart."""
    rng = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money"]
    rows = [{"prompt": " ".join(rng.choice(words, 5)), "label": k % 2, "group": k // 2} for k in range(32)]
    asked = backdoor.Questions(labelled=lens.Examples(pd.DataFrame(rows)))
    table = backdoor.run(random_model(0), asked, sites=["resid_post.1"], progress=False).tables["reading"]
    assert table["auroc"].max() < 0.75
