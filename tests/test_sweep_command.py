"""`lens sweep`: what it can be asked, what it prints, and that mistakes are told before a model is loaded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from typer.testing import CliRunner

import lens
from probes import Direction
from steering.cli import app
from steering.commands.questions import Question, question

ANIMALS = ("fox", "dog", "cat", "owl", "hen", "ant", "bee", "cow")
MOODS = ("glad", "sad", "wild")
QUICK = ("--folds", "3", "--permutations", "3", "--site", "resid_post.1")


def run(*words: str | Path) -> str:
    outcome = CliRunner().invoke(app, ["sweep", *map(str, words)], catch_exceptions=False, env={"COLUMNS": "200"})
    assert outcome.exit_code == 0, outcome.output
    return " ".join(outcome.output.split())


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny.saved("llama")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mood is a word of the text; warmth is how often `yes` is said."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    made = [
        {"text": f"the {animal} was {mood}" + " yes" * warmth, "mood": mood, "warmth": warmth, "who": animal}
        for animal in ANIMALS
        for warmth, mood in enumerate(MOODS)
    ]
    frame = pd.DataFrame(made).assign(label=lambda frame: (frame["mood"] == "glad").astype(int))
    frame.assign(calm=np.arange(len(frame)) % 2).to_csv(path, index=False)
    return path


@pytest.fixture
def reading(folder: Path, rows: Path) -> tuple[str | Path, ...]:
    return ("--model", folder, "--data", rows, "--text", "text", "--group", "who")


def test_what_the_texts_do_not_tell_is_printed_and_where_they_tell_all_it_is_said(reading, folder, tmp_path):
    said = run(*reading, *QUICK)
    assert "untold" not in said and "The texts tell the label of nearly every row" in said
    mixed = tmp_path / "mixed.csv"
    words = ["quick", "brown", "money", "lied"]
    texts = [f"she {words[k % 4]} {words[k // 4 % 4]} {ANIMALS[k // 16]} fox" for k in range(128)]
    pd.DataFrame({"prompt": texts, "label": np.random.default_rng(0).permutation([0, 1] * 64)}).to_csv(mixed)
    out = tmp_path / "out.csv"
    said = run("--model", folder, "--data", mixed, *QUICK, "--probe", "lda", "--out", out)
    row = pd.read_csv(out).iloc[0]
    shown = f"{row['untold']:.2f} ({row['untold_low']:.2f}–{row['untold_high']:.2f})"
    assert "untold" in said and shown in said
    assert f"AUROC on the {row['untold_n']} rows" in said and f"has {row['untold_text']:.2f} there" in said


def test_token_probes_are_asked_for_by_name(reading, tmp_path):
    out, direction = tmp_path / "out.csv", tmp_path / "d.safetensors"
    words = ["--probes", "attention,max", "--span", "prompt", "--out", out, "--direction", direction]
    said = run(*reading, *QUICK, *words)
    table = pd.read_csv(out)
    assert table["probe"].tolist() == ["attention", "max"] and table["matched_high"].notna().all()
    assert "matched" in said and "top PC" not in said and "Best: " in said
    made = Direction.load(direction).provenance
    assert made.method in ("attention", "max") and made.pool == made.method and made.span == "prompt"


def test_several_classes_have_a_table_and_a_direction_each(reading, tmp_path):
    out = tmp_path / "out.csv"
    said = run(*reading, *QUICK, "--classes", "mood", "--out", out, "--direction", tmp_path / "moods")
    row = pd.read_csv(out).iloc[0]
    assert row["probe"] == "logistic" and row["majority"] == pytest.approx(1 / 3) and row["n"] == 24
    assert "macro AUROC" in said and "commonest answer alone is right in 0.33" in said
    made = {path.stem: Direction.load(path).provenance.method for path in (tmp_path / "moods").iterdir()}
    assert made == {mood: f"logistic (mood={mood})" for mood in MOODS}


def test_several_columns_are_several_labels(reading, tmp_path):
    out = tmp_path / "out.csv"
    run(*reading, *QUICK, "--classes", "label,calm", "--probe", "lda", "--out", out)
    assert pd.read_csv(out)["probe"].tolist() == ["lda"]


def test_a_graded_target_has_ranks_and_values(reading, tmp_path):
    out, direction = tmp_path / "out.csv", tmp_path / "warm.safetensors"
    words = [
        "--level",
        "warmth",
        "--probe",
        "ridge,ordinal",
        "--span",
        "prompt",
        "--out",
        out,
        "--direction",
        direction,
    ]
    said = run(*reading, *QUICK, *words)
    table = pd.read_csv(out)
    assert table["probe"].tolist() == ["ridge", "ordinal"] and table["spearman"].min() > 0.8
    assert (table["p"] == 0.25).all() and "Spearman ρ" in said and "R²" in said
    assert "(warmth)" in Direction.load(direction).provenance.method


MISTAKES = {
    "unknown probe": (["--probe", "svm"], ["'svm'", "mean_difference", "of tokens: mean, last, max"]),
    "two kinds of probe": (["--probe", "lda,max"], ["max reads every token and lda a row"]),
    "pooled tokens": (["--probe", "max", "--span", "prompt", "--pool", "mean"], ["--pool mean leaves one row"]),
    "one token": (["--probe", "max"], ["--span prompt[-1] is one token", "--span prompt"]),
    "unpooled rows": (["--pool", "none"], ["'none'", "mean, last, max"]),
    "no span": (["--span", "answer"], ["'answer'", "prompt[-1]"]),
    "two targets": (["--classes", "mood", "--level", "warmth"], ["One target at a time"]),
    "classes of tokens": (["--classes", "mood", "--probe", "max"], ["'max'; --classes takes: mean_difference"]),
    "levels by a classifier": (["--level", "warmth", "--probe", "lda"], ["'lda'; --level takes: ridge, ordinal"]),
    "an option of two classes": (["--level", "warmth", "--against", "who"], ["--against", "--level"]),
    "a label beside classes": (["--classes", "mood", "--positive", "glad"], ["--positive", "--classes"]),
    "classes called label": (["--classes", "label"], ["'label' holds 0 and 1", "another name"]),
    "no such classes": (["--classes", "temper"], ["'temper'", "mood, warmth"]),
    "two classes": (["--classes", "calm"], ["three classes", "positive=VALUE"]),
    "no numbers": (["--level", "mood"], ["'mood' must hold numbers", "glad"]),
    "too many folds": (["--folds", "9"], ["8 groups cannot make 9 folds"]),
    "too many folds for classes": (["--classes", "mood", "--folds", "9"], ["8 groups cannot make 9 folds"]),
    "too many folds for levels": (["--level", "warmth", "--folds", "9"], ["8 groups cannot make 9 folds"]),
    "one class": (["--where", "mood=sad"], ["label 0"]),
    "another name for the label": (["--against", "mood"], ["cannot be told apart"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_before_a_model_is_loaded(name, rows, monkeypatch):
    monkeypatch.setattr(lens, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    words, named = MISTAKES[name]
    given = ["sweep", "--data", str(rows), "--text", "text", "--group", "who", *words]
    outcome = CliRunner().invoke(app, given)
    assert isinstance(outcome.exception, lens.DataError | lens.SpanError), outcome.exception
    for part in named:
        assert part in str(outcome.exception)


def test_help_says_which_probes_and_targets_there_are() -> None:
    from probes.fit import PROBES
    from probes.graded import GRADED
    from probes.tokens.fit import TOKEN_PROBES

    said = run("--help")
    for name in (*PROBES, *TOKEN_PROBES, *GRADED):
        assert name in said
    assert "--classes mood" in said and "--level warmth" in said and "--probe max,attention" in said


def test_names_may_be_joined_by_commas_or_repeated():
    settings = {"folds": 3, "permutations": 1, "seed": 0}
    assert question(["lda, ridge", "pca"], [], None, **settings).probes == ["lda", "ridge", "pca"]
    assert type(question([], [], None, **settings)) is Question
    assert question([], ["a,b"], None, **settings).columns == ["a", "b"]
