"""Options of the commands are read, or refused before anything is loaded; what was computed is written before it is
printed."""

import importlib

import pandas as pd
import pytest
from typer.testing import CliRunner

import lens
from lens import DataError
from steering.cli import app
from steering.commands.options import Rows, print_table
from steering.commands.study import shared
from steering.studies.result import Result, judged


def test_the_columns_of_a_shipped_set_can_be_chosen():
    plain = lens.data.load("honesty")
    pd.testing.assert_frame_equal(Rows("honesty").load().frame, plain.frame)
    pd.testing.assert_frame_equal(Rows("honesty", label="label").load().frame, plain.frame)
    assert (Rows("honesty", group="cue").load().groups == plain.frame["cue"]).all()
    made = Rows("honesty", label="cue", positive="none").load()
    assert (made.labels == (plain.frame["cue"] == "none")).all() and (made.groups == plain.groups).all()
    asked = Rows("honesty", text="group", where=["cue=none"]).load()
    assert asked.prompts == list(plain.where(cue="none").frame["group"])
    for options in ({"text": "nothing"}, {"label": "nothing"}, {"group": "nothing"}, {"response": "nothing"}):
        with pytest.raises(DataError, match="No column 'nothing'; available: prompt"):
            Rows("honesty", **options).load()


def test_the_columns_of_a_public_format_can_be_chosen():
    given = f"caa:{lens.formats.example('caa')}"
    plain = Rows(given).load()
    assert (Rows(given, group="response").load().groups == plain.frame["response"]).all()
    with pytest.raises(DataError, match="No column 'nothing'"):
        Rows(given, response="nothing").load()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("study", "self-knowledge", "--where", "a=b"), "--where a=b is about --data"),
        (("study", "self-knowledge", "--text", "asked"), "--text asked is about --data"),
        (("study", "evaluation-awareness", "--positive", "test"), "--positive test is about --data"),
        (("study", "evaluation-awareness", "--label", "kind"), "--label kind is about --data"),
        (("study", "neurofeedback", "--group", "topic"), "--group topic is about --data"),
        (("study", "neurofeedback", "--label", "moral"), "--label moral is about --data"),
        (("study", "trait-vectors", "--where", "a=b", "--where", "c=d"), "--where a=b c=d is about --data"),
        (("study", "personas", "--group", "topic"), "--group topic is about --requests"),
        (("study", "personas", "--text", "asked"), "--text asked is about --requests"),
        (("steer", "--direction", "none.safetensors", "-p", "hi", "--where", "a=b"), "--where a=b is about --data"),
        (("edit", "--direction", "none.safetensors", "--diff", "x", "--group", "g"), "--group g is about --data"),
    ],
)
def test_an_option_that_nothing_reads_is_refused_before_anything_is_loaded(words, named, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("lens.load"), "load", lambda *args, **options: pytest.fail("a model was loaded")
    )
    with pytest.raises(DataError, match=named):
        CliRunner().invoke(app, list(words), catch_exceptions=False)


def result(claims) -> Result:
    return Result(
        "backdoor",
        claims,
        {"numbers": pd.DataFrame({"a": [1.0]})},
        {"model": "llama", "seed": 0, "versions": {"torch": "2"}},
        ("Few.",),
    )


def test_a_study_without_claims_is_printed_and_kept(tmp_path, capsys):
    shared.finish(result(judged([])), tmp_path / "out")
    said = capsys.readouterr().out
    assert "Shown: nothing." in said and "Note: Few." in said
    assert (tmp_path / "out" / "result.json").is_file() and (tmp_path / "out" / "index.html").is_file()
    print_table(pd.DataFrame(columns=["a", "b"]), "nothing")
    print_table(pd.DataFrame(), "nothing at all")


def test_what_cannot_be_printed_is_not_lost(tmp_path, monkeypatch):
    def broken(frame, title):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "print_table", broken)
    with pytest.raises(KeyboardInterrupt):
        shared.finish(result(judged([])), tmp_path / "out")
    assert (tmp_path / "out" / "result.json").is_file() and (tmp_path / "out" / "numbers.csv").is_file()
