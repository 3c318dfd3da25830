"""The command `lens check`: what it prints and writes, and its exit code."""

import json
from pathlib import Path

import pandas as pd
import pytest
import tiny
from typer.testing import CliRunner

from lens.errors import DataError
from lens.spans import Span
from steering import checks
from steering.checks import PROPERTIES
from steering.cli import app

WIDE = {"COLUMNS": "240"}  # no sentence of a table is cut in two


def run(*words: str | Path, code: int = 0) -> str:
    outcome = CliRunner().invoke(app, ["check", *(str(word) for word in words)], catch_exceptions=False, env=WIDE)
    assert outcome.exit_code == code, outcome.output
    return outcome.output


@pytest.fixture
def few(monkeypatch):
    """Only some properties, which saves the time of the others."""
    some = ("padding left", "span", "undo")
    monkeypatch.setattr(checks, "PROPERTIES", tuple(one for one in PROPERTIES if one[0] in some))


def test_the_organism_passes():
    said = run()
    assert f"ok ({len(PROPERTIES)} pass)" in said and "NOT OK" not in said
    assert "edit = ablation" in said


def test_a_saved_model_is_checked_and_the_report_written(few, tmp_path):
    out = tmp_path / "new" / "check.json"
    said = run(tiny.saved("gemma2"), "--out", out)
    assert "not applicable" in said and "normalises attention" in " ".join(said.split())
    written = json.loads(out.read_text())
    assert written["ok"] and [row["status"] for row in written["rows"]] == ["pass", "pass", "not applicable"]
    assert json.loads(run(tiny.saved("gpt2"), "--json", "--dtype", "bfloat16"))["rows"][0]["tolerance"] > 0.01


def test_a_failure_is_exit_code_1_and_names_the_place(few, monkeypatch):
    monkeypatch.setattr(Span, "select", lambda self, index, prompt_length, length: index >= 0)
    said = run(tiny.saved("gpt2"), code=1)
    assert "NOT OK" in said and "first: resid_post.2, tokens outside prompt[-1]" in " ".join(said.split())


def test_what_was_not_tested_is_exit_code_1(few, tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("the quick fox\n\n")
    said = run(tiny.saved("gpt2"), "--texts", one, code=1)
    assert "not tested" in said and "give texts of different lengths" in " ".join(said.split())


def test_texts_come_from_a_file(few, tmp_path):
    lines, table = tmp_path / "a.txt", tmp_path / "a.csv"
    lines.write_text("the quick fox\nshe lied about the money\n")
    pd.DataFrame({"prompt": ["the quick fox", "she lied about the money"]}).to_csv(table, index=False)
    folder = tiny.saved("gpt2")
    assert json.loads(run(folder, "--texts", lines, "--json")) == json.loads(run(folder, "--texts", table, "--json"))


@pytest.mark.parametrize(
    ("name", "content", "named"), [("none.txt", None, "none.txt"), ("empty.txt", "\n \n", "one per line")]
)
def test_texts_that_are_not_there(tmp_path, name, content, named):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    outcome = CliRunner().invoke(app, ["check", str(tiny.saved("gpt2")), "--texts", str(path)])
    assert isinstance(outcome.exception, DataError) and named in str(outcome.exception)


def test_help_says_what_each_status_means():
    said = " ".join(run("--help").split())
    for word in ("not applicable", "not tested", "exit code is 1", "Example: lens check ./my-model"):
        assert word in said
