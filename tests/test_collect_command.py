"""lens collect: one file of activations, or a store that grows and resumes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import command_line
import pandas as pd
import pytest
import tiny
import torch
from typer.testing import CliRunner

import lens
from lens import ArtifactError, DataError, ModelError, Store
from lens.errors import LensError
from steering.cli import app


def run(*words: str | Path) -> str:
    return " ".join(command_line.run(*words).split())


def mistake(*words: str | Path) -> LensError:
    outcome = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(outcome.exception, LensError), outcome.output
    return outcome.exception


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    table = tmp_path_factory.mktemp("data") / "rows.csv"
    pd.DataFrame({"prompt": [*tiny.TEXTS, "the fox lied " * 60]}).to_csv(table, index=False)
    return ["collect", "-m", str(tiny.saved("llama")), "-d", str(table), "--site", "resid_post.1"]


def test_a_store_holds_what_out_holds_and_goes_on(base: list[str], tmp_path: Path) -> None:
    for pool, dtype in (("mean", "float32"), ("none", "bfloat16")):
        cut = ["--truncate", "left", "--pool", pool, "--span", "prompt[-2:]"]
        run(*base, *cut, "--out", tmp_path / f"out-{pool}")
        said = run(*base, *cut, "--store", tmp_path / pool, "--stored-as", dtype)
        assert f"{tmp_path / pool}" in said and "6 rows × 64" in said
        wanted = lens.Activations.load(tmp_path / f"out-{pool}")
        got = Store.open(tmp_path / pool).activations()
        assert got.source == wanted.source and got.source.truncate == "left" and got.source.pool == pool
        assert torch.equal(got["resid_post.1"], wanted["resid_post.1"].to(getattr(torch, dtype)).float())
        shard = next((tmp_path / pool).glob("shard-*"))
        before = shard.read_bytes()
        shard.unlink()
        run(*base, *cut, "--store", tmp_path / pool, "--stored-as", dtype)
        assert shard.read_bytes() == before
    assert isinstance(mistake(*base, *cut, "--store", tmp_path / "none"), ArtifactError)


def test_each_mistake_is_one_error(base: list[str], tmp_path: Path) -> None:
    store = ["--store", tmp_path / "s"]
    for words, named in {
        (): ["--out", "--store"],
        (*store, "--out", tmp_path / "o"): ["--out", "--store"],
        tuple(store): ["Row 5", "context holds 128", "truncate='left'"],
        (*store, "--truncate", "middle"): ["'middle'", "left, right"],
        (*store, "--pool", "median"): ["'median'", "mean, last, max, none"],
        (*store, "--stored-as", "int8"): ["'int8'", "float32, float16, bfloat16"],
        ("--truncate", "left", "--out", tmp_path / "o", "--stored-as", "float16"): ["float16", "store="],
        ("--truncate", "left", "--out", tmp_path / "o", "--workers", "2"): ["workers=", "store="],
        (*store, "--truncate", "left", "--address", "auto"): ["'auto'", "workers="],
    }.items():
        error = mistake(*base, *words)
        assert isinstance(error, DataError) and all(part in str(error) for part in named), str(error)
    assert not list(tmp_path.glob("*/shard-*"))


def test_help_says_what_workers_need_and_how_a_store_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = run("collect", "--help")
    assert "behaviorlens[ray]" in said and "lens.Store.open" in said


def test_workers_need_ray(base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    error = mistake(*base, "--truncate", "right", "--store", tmp_path / "s", "--workers", "2")
    assert isinstance(error, ModelError) and "pip install 'behaviorlens[ray]'" in str(error)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.slow
def test_two_workers_from_the_command_line(base: list[str], tmp_path: Path) -> None:
    """The whole way, with a cluster of its own."""
    words = [*base, "--truncate", "right", "--store", str(tmp_path / "s"), "--workers", "2"]
    outcome = subprocess.run(
        [sys.executable, "-m", "steering.cli", *words], capture_output=True, text=True, timeout=240, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert not Store.open(tmp_path / "s").missing() and "ray" not in outcome.stderr.lower()


def test_options_that_are_not_known_are_refused_in_python_too() -> None:
    """In a process of its own: here annotations are checked at run time and would refuse them first."""
    program = (
        "import sys; sys.path.insert(0, 'tests'); import lens, tiny\n"
        "model = lens.wrap(*tiny.hugging_face('llama'))\n"
        "for options in ({'pool': 'median'}, {'truncate': 'middle'}, {'store': 'unused', 'dtype': 'int8'}):\n"
        "    try: lens.collect(model, tiny.TEXTS, **options)\n"
        "    except lens.DataError as error: print(error)\n"
    )
    root = Path(__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True).stdout
    assert said.splitlines() == [
        "Unknown pool 'median'; available: mean, last, max, none.",
        "Unknown truncate 'middle'; available: left, right, or None.",
        "Unknown dtype 'int8'; available: float32, float16, bfloat16.",
    ]
