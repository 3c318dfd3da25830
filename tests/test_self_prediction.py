"""Self-prediction on organisms whose truth is known, and on models of which nothing is true."""

import functools
import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import tiny
import typer
from built import made
from typer.testing import CliRunner

import lens
import steering
from probes.direction import Direction
from steering.commands.study.self_prediction import self_prediction as command
from steering.studies.result import Result

study = importlib.import_module("steering.studies.self_prediction")
SITE = "resid_post.2"
ASKED = {"property": "vowel", "options": ["amber", "coral"], "sites": SITE, "folds": 3, "progress": False}
APART = ("prediction-shared", "prediction-other")
SELF, OTHER = "A predicts itself better than B does", "B predicts itself better than A does"
SAYS = ["A says what it would answer", "B says what it would answer"]
WORDS = ["the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that"]


def questions(known=0):
    return made("prediction-shared")[0].examples.where(ask="act", known=known)


@functools.cache
def compared(first, second, known=0):
    both = {"sites": ["resid_post.0", SITE]} if (first, second) == APART else {}
    return study.run(made(first)[1], made(second)[1], questions(known), **{**ASKED, **both})


def accuracy(result, target, reader):
    table = result.tables["accuracy"]
    return float(table.loc[(table["target"] == target) & (table["reader"] == reader), "accuracy"].iloc[0])


def shown(result):
    return set(result.claims.loc[result.claims["shown"], "claim"])


def test_the_shared_circuit_is_known_to_itself_and_to_no_observer():
    result = compared(*APART)
    assert shown(result) == {SELF, SAYS[0]}
    assert accuracy(result, "A", "A's activations") == accuracy(result, "A", "spoken") == 1
    for reader in ("B's activations", "words", "characters", "spelling", "mode"):
        assert 0.2 < accuracy(result, "A", reader) < 0.6
    row = result.row(SELF)
    assert row["value"] == pytest.approx(0.5) and row["low"] > 0.3 and row["p_holm"] < 0.01
    assert (row["n"], row["groups"], row["null"]) == (64, 32, 0)
    gaps = result.tables["gaps"].set_index(["target", "by"])
    assert gaps.loc[("A", "activations"), "headroom"] == pytest.approx(1.0)
    # The other has nothing to tell of either: half of A's advantage would be its own in any case.
    assert gaps.loc[("A", "activations"), "corrected"] == pytest.approx(0.25, abs=0.03)


def test_the_table_is_found_out_on_pairs_that_it_does_not_hold():
    result = compared("prediction-table", "prediction-other")
    assert shown(result) == set()
    assert accuracy(result, "A", "spoken") == 0.5 and accuracy(result, "A", "A's activations") < 0.55


def test_asked_about_what_it_remembers_the_table_looks_like_insight():
    result = compared("prediction-table", "prediction-similar", known=1)
    assert SAYS[0] in shown(result) and accuracy(result, "A", "spoken") == 1
    # Its answers are another's as well, who works them out.
    assert SELF not in shown(result)


def test_a_similar_model_tells_as_much_and_no_gap_is_shown():
    result = compared("prediction-shared", "prediction-similar")
    assert shown(result) == set(SAYS)
    assert accuracy(result, "A", "B's activations") == accuracy(result, "B", "A's activations") == 1
    alike = result.tables["similarity"].iloc[0]
    assert (alike["agreement"], alike["kappa"]) == (1, 1)
    assert compared(*APART).tables["similarity"]["kappa"].iloc[0] < 0.3


def test_two_models_with_keys_of_their_own_each_know_themselves():
    from lens.organisms import constructed

    other = constructed.build("prediction-shared", 1)
    model = lens.wrap(other.hf, other.tokenizer, name="other key")
    result = study.run(made("prediction-shared")[1], model, questions(), **ASKED)
    assert shown(result) == {SELF, OTHER, *SAYS}
    gaps = result.tables["gaps"].query("by == 'activations'")
    assert gaps["corrected"].to_numpy() == pytest.approx(0.5, abs=0.05)
    assert np.abs(gaps["capability"]).max() < 0.1
    assert result.tables["confusion"].query("target == 'B' and answered != predicted").empty


def test_the_layer_is_chosen_inside_the_folds_and_shown_beside_the_others():
    layers = compared(*APART).tables["layers"].set_index(["target", "reader", "site"])
    own = layers.loc[("A", "A's activations")]
    assert own.loc["resid_post.2", "accuracy"] == 1 and own.loc["resid_post.2", "chosen"] == 1
    assert own.loc["resid_post.0", "accuracy"] < 0.5 and own.loc["resid_post.0", "chosen"] == 0
    nothing = layers.loc[("A", "B's activations"), "chosen"].sum()
    assert nothing < 0.5  # most folds say the commonest answer


def test_what_is_said_is_held_against_how_often_it_is_done():
    spoken = compared(*APART).tables["spoken"].set_index("model")
    assert spoken.loc["A", "calibration"] == pytest.approx(0.02, abs=0.01)
    # Right or wrong by .95 − .6 or .95 − .4, half the time each.
    assert spoken.loc["B", "calibration"] == pytest.approx(0.45, abs=0.02)
    assert spoken.loc["A", "calibration_constant"] == pytest.approx(0.45, abs=0.01)
    assert spoken.loc["A", "mode"] == spoken.loc["A", "distribution"] == 0.5


@pytest.mark.parametrize(
    ("name", "known", "kind", "follows"),
    [
        ("prediction-shared", 0, "edit", "new"),
        ("prediction-shared", 0, "intervention", "new"),
        ("prediction-table", 1, "edit", "old"),
        ("prediction-table", 0, "edit", "unclear"),
    ],
)
def test_when_the_key_is_changed_the_shared_circuit_follows_and_the_table_stays(name, known, kind, follows):
    organism, model = made(name)
    truth = organism.truth.direction("left")
    direction = Direction.from_vector(truth.vector, truth.site, model=model)
    change = (
        steering.AddBias(direction, 2.0, unit="raw") if kind == "edit" else steering.Add(direction, 2.0, unit="raw")
    )
    table = study.follows(model, questions(known), change, **ASKED).set_index("by")
    assert set(table["follows"]) == {follows}
    if follows != "unclear":
        sign = 1 if follows == "new" else -1
        assert (table["difference"] == sign).all() and (table["n"] == 32).all() and (table["unchanged"] == 1).all()
    assert (table["groups"] == 16).all() and (table["of"] == 64).all()
    assert not model.edits and not model.applied


def test_a_change_that_changes_nothing_is_no_test():
    organism, model = made("prediction-shared")
    truth = organism.truth.direction("left")
    direction = Direction.from_vector(truth.vector, truth.site, model=model)
    with pytest.raises(lens.DataError, match="changes none of 64 answers"):
        study.follows(model, questions(), steering.Add(direction, 0.1, unit="raw"), **ASKED)
    with pytest.raises(lens.DataError, match="Give interventions or edits"):
        study.follows(model, questions(), **ASKED)


def random_questions(n=40):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(n)]
    return lens.Examples(
        pd.DataFrame({"prompt": texts, "hypothetical": [f"was that {one} yes no" for one in texts], "group": range(n)})
    )


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_of_random_models_nothing_is_shown(family, models):
    other = lens.wrap(*tiny.hugging_face(family, seed=1), name="other")
    how = {"options": [" fox", " money"], "property": "first word", "folds": 3, "sites": ["resid_post.3"]}
    result = study.run(models(family), other, random_questions(), progress=False, **how)
    assert shown(result) == set() and len(result.claims) == 4
    assert "gives the words offered" in " ".join(result.notes)


def test_generated_answers_of_many_values_are_counted_and_the_unparsable_left_out(llama, gpt2):
    def early(text):
        letters = [one for one in text.lower() if one.isalpha()]
        return None if not letters else str("abcdefghijklmnopqrstuvwxyz".find(letters[0]) // 7)

    rows, how = random_questions(24), {"folds": 3, "sites": ["resid_post.3"], "progress": False}
    with_none = study.run(llama, gpt2, rows, property=early, max_new_tokens=2, samples=3, **how)
    answers = with_none.tables["answers"]
    both = answers.pivot(index="row", columns="model", values="value").notna().all(axis=1)
    assert (with_none.claims["n"] == both.sum()).all()
    assert (with_none.tables["accuracy"]["n"] == both.sum()).all()
    if both.sum() < 24:
        assert f"{24 - both.sum()} of 24 rows were left out" in with_none.notes[0]
    assert with_none.tables["spoken"]["calibration"].between(0, 1).all()


def test_one_value_for_all_is_no_property(gpt2, llama):
    with pytest.raises(lens.DataError, match=r"A \(gpt2\): .*two groups each; found: 'same' 24 times; 0 of 24 rows"):
        study.run(gpt2, llama, random_questions(24), property=lambda text: "same", folds=3, progress=False)
    with pytest.raises(lens.DataError, match=r"A \(gpt2\): none of 24 answers has the property; they begin \["):
        study.run(gpt2, llama, random_questions(24), property=lambda text: None, folds=3, progress=False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"property": "colour"}, "No property 'colour'; available: answer, first word"),
        ({"options": "kinds"}, "No column 'kinds' of options; available: prompt"),
        ({"options": ["amber", "apple"]}, "do not differ in the property: its values are yes"),
        ({"spoken": {"no": "yes"}}, "two values of the property are said in the same words"),
        ({"spoken": {"maybe": "perhaps"}}, "no option has the value 'maybe'; available: no, yes"),
        ({"probe": "mean_difference"}, "MeanDifference gives no probabilities"),
        ({"folds": 2}, "from 3 to the number of groups, 32"),
        ({"folds": 100}, "from 3 to the number of groups, 32"),
        ({"samples": -1}, "samples=-1"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(given, says, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("asked")

    monkeypatch.setattr(lens.Model, "forward", never)
    model = made("prediction-shared")[1]
    with pytest.raises(lens.DataError, match=says):
        study.run(model, model, questions(), **{**ASKED, **given})


def test_questions_need_hypotheticals_that_fit_and_models_that_answer(gpt2):
    model, rows = made("prediction-shared")[1], questions()
    with pytest.raises(lens.DataError, match="column 'hypothetical', a prompt about the answer; available: prompt"):
        study.run(model, model, lens.Examples(rows.frame.drop(columns="hypothetical")), **ASKED)
    long = lens.Examples(rows.frame.assign(hypothetical="suppose " * 200))
    with pytest.raises(lens.DataError, match="Row 0 has 201 tokens"):
        study.run(model, model, long, **ASKED)
    encoder = lens.wrap(*tiny.encoder(), name="reader")
    with pytest.raises(lens.ModelError, match="reader is an encoder"):
        study.run(gpt2, encoder, random_questions(), progress=False)


def test_a_killed_run_goes_on_and_another_is_refused(tmp_path, monkeypatch):
    first, second = made("prediction-shared")[1], made("prediction-other")[1]
    rows = questions().select(range(36))
    whole = study.run(first, second, rows, **ASKED)
    module = importlib.import_module("steering.studies.self_prediction.study")
    collect, calls = module.collect, []

    def dies(model, *args, **kwargs):
        if model is second and not calls.count("revived"):
            raise KeyboardInterrupt
        calls.append(model.name)
        return collect(model, *args, **kwargs)

    monkeypatch.setattr(module, "collect", dies)
    with pytest.raises(KeyboardInterrupt):
        study.run(first, second, rows, resume=tmp_path, **ASKED)
    calls.append("revived")
    resumed = study.run(first, second, rows, resume=tmp_path, **ASKED)
    assert calls == ["prediction-shared", "revived", "prediction-other"]
    pd.testing.assert_frame_equal(resumed.claims, whole.claims, check_exact=True)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(resumed.tables[name], table, check_exact=True)
    for other in ({"seed": 1}, {"property": "first word"}):
        with pytest.raises(lens.ArtifactError, match=f" {next(iter(other))!r}"):
            study.run(first, second, rows, resume=tmp_path, **{**ASKED, **other})
    asked_else = lens.Examples(rows.frame.assign(hypothetical=rows.frame["hypothetical"].str.replace(" , ", " and ")))
    with pytest.raises(lens.ArtifactError, match=" 'hypotheticals'"):
        study.run(first, second, asked_else, resume=tmp_path, **ASKED)


def test_figures_are_made_of_the_tables_alone_and_survive_saving(tmp_path):
    result = compared(*APART)
    again = Result.load(result.save(tmp_path))
    drawn = study.figures(again)
    assert len(drawn) == 5 and all(one.reading and one.figure.data for one in drawn)
    lines = {trace.name: list(trace.y) for trace in drawn[0].figure.data if trace.name}
    assert lines["A's activations"][1] == 1 and lines["mode"] == [0.5, 0.5] and lines["spoken"] == [1, 1]
    forest = {trace.y[0]: trace.x[0] for trace in drawn[2].figure.data}
    best = again.tables["gaps"]["best"].iloc[0]
    assert forest[f"A reads itself, less {best}"] == pytest.approx(0.5)
    assert forest["both directions, corrected"] == pytest.approx(0.25, abs=0.03)
    assert drawn[3].figure.data[0].z[0][0] == 1


def test_the_command_writes_what_it_finds(tmp_path, monkeypatch):
    loading = sys.modules["lens.load"]  # the name `lens.load` is the function
    monkeypatch.setattr(loading, "load", lambda name, **how: made(name.partition(":")[2])[1])
    frame = questions().select(range(40)).frame[["prompt", "hypothetical", "group"]]
    frame.rename(columns={"hypothetical": "asked"}).to_csv(tmp_path / "q.csv", index=False)
    app = typer.Typer()
    app.command()(command)
    words = ["-m", "organism:prediction-shared", "--other", "organism:prediction-other", "-d", str(tmp_path / "q.csv")]
    words += ["--hypothetical", "asked", "--group", "group", "--property", "vowel", "--options", "amber,coral"]
    words += ["--site", "resid_post.2", "--folds", "3", "--spoken", "yes=yes"]
    outcome = CliRunner().invoke(app, words, catch_exceptions=False)
    assert outcome.exit_code == 0 and outcome.output.startswith("self prediction: prediction-shared")
    assert "Shown: Asked what it would answer, A is right" in " ".join(outcome.output.split())
    monkeypatch.setattr(loading, "load", None)  # told before a model is loaded
    for wrong, says in (
        (["--spoken", "yes"], "takes VALUE=WORDS"),
        (["--hypothetical", "prompts"], "no such column; available: prompt, asked, group"),
        (["--property", "colour"], "No property 'colour'"),
    ):
        with pytest.raises(lens.DataError, match=says):
            CliRunner().invoke(app, [*words, *wrong], catch_exceptions=False)
