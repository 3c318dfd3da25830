"""The command dose: the table, files and figure that it writes are the library's; mistakes are told before any work."""

from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from command_line import run
from typer.testing import CliRunner

import lens
import steering
from lens.errors import LensError
from lens.generation import Generation
from lens.organisms import constructed
from probes import Direction
from steering.cli import app
from steering.commands import measured

PROMPTS = ["the fox", "she lied about it", "was that", "who says so"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    table = {"text": PROMPTS, "good": " yes", "bad": " no", "who": list("aabb"), "asked": [0, 0, 0, 1]}
    pd.DataFrame(table).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def direction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vector = torch.randn(64, generator=torch.Generator().manual_seed(0))
    made = Direction.from_vector(vector, "resid_post.1", residual_norm=8.0)
    return made.save(tmp_path_factory.mktemp("directions") / "d.safetensors")


@pytest.mark.filterwarnings("ignore:Only .* groups")
def test_the_curve_is_the_librarys_and_lies_beside_its_figure(rows: Path, direction: Path, tmp_path: Path) -> None:
    said = run(
        *("dose", "-m", tiny.saved("llama"), "--direction", direction, "-d", rows, "--text", "text", "--group", "who"),
        *("--where", "asked=0", "--prompted", "asked=1", "--measure", "option:{good}| no", "--strengths", "-1,0.5"),
        *("--random", "2", "--seed", "3", "--out", tmp_path / "out"),
    )
    examples = lens.Examples.from_csv(rows, text="text", group="who")
    wanted = steering.dose_response(
        lens.load(tiny.saved("llama")),
        Direction.load(direction),
        examples.where(asked=0),
        steering.measures.option("{good}", " no", name="P(good)"),
        strengths=[-1, 0.5],
        random_draws=2,
        prompted=examples.where(asked=1),
        seed=3,
    )
    found = pd.read_csv(tmp_path / "out" / "dose.csv")
    pd.testing.assert_frame_equal(found.drop(columns="measure"), wanted.drop(columns="measure"), check_dtype=False)
    assert len(wanted[wanted["arm"] == "prompt"]) == 1
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Dose curve" in page and "random directions, same norm" in page and "Working range" in page
    said = " ".join(said.split())
    assert "Working range, in units of norm" in said and "prompted" in said


@pytest.mark.filterwarnings("ignore:Only .* groups")
def test_generated_texts_are_counted_too(rows: Path, direction: Path) -> None:
    said = run(
        *("dose", "-m", tiny.saved("llama"), "--direction", direction, "-d", rows, "--text", "text"),
        *("--measure", "contains:fox,hen", "--strengths", "1", "--random", "0"),
    )
    assert "contains fox|hen" in said and "no strength has an effect" in said


def mistakes(rows: str, direction: str, folder: str) -> dict[str, tuple[list[str], list[str]]]:
    base = ["dose", "-m", "./nowhere", "--direction", direction, "-d", rows, "--text", "text", "--measure"]
    good = [*base, "option:yes|no"]
    return {
        "unknown measure": ([*base, "refuses:yes"], ["'refuses:yes'", "option:WORDS|WORDS", "contains:WORDS"]),
        "one side only": ([*base, "option:yes"], ["'option:yes'"]),
        "an empty side": ([*base, "option:yes|"], ["'option:yes|'"]),
        "two sides of a word": ([*base, "contains:yes|no"], ["'contains:yes|no'"]),
        "no column of the measure": ([*base, "option:{right}|no"], ["'right'", "good, bad"]),
        "strengths": ([*good, "--strengths", "1;2"], ["'1;2'", "commas"]),
        "strengths that are not finite": ([*good, "--strengths", "1,nan"], ["nan"]),
        "unit": ([*good, "--unit", "metre"], ["'metre'", "norm, difference, raw"]),
        "a unit it does not know": ([*good, "--unit", "difference"], ["'difference'"]),
        "span": ([*good, "--span", "answer"], ["'answer'", "prompt[-1]"]),
        "rows": ([*good, "--where", "who=z"], ["who=z"]),
        "prompted rows": ([*good, "--prompted", "whom=z"], ["'whom'", "who"]),
        "a file for a folder": ([*good, "--out", rows], ["is a file"]),
        "direction": (
            ["dose", "--direction", "no.safetensors", "-d", rows, "--measure", "contains:a"],
            ["no.safetensors"],
        ),
        "model": (good, ["./nowhere"]),
        "width": ([*good[:2], folder, *good[3:]], ["width 64", "width 32"]),
    }


@pytest.mark.parametrize("name", list(mistakes("", "", "")))
def test_a_mistake_is_told_before_any_work(
    name: str, rows: Path, direction: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "dose_response", None)
    folder = tmp_path / "wide"
    if name == "width":
        constructed.build("traits").save(folder)
        narrow = Direction.from_vector(torch.ones(32), "resid_post.1", residual_norm=1.0)
        direction = narrow.save(tmp_path / "narrow.safetensors")
    words, named = mistakes(str(rows), str(direction), str(folder))[name]
    outcome = CliRunner().invoke(app, words)
    assert isinstance(outcome.exception, LensError), outcome.exception
    for part in named if name != "width" else ["width 32", "width 64"]:
        assert part in str(outcome.exception)


def test_several_words_of_a_measure_are_several_options(gpt2: lens.Model) -> None:
    made = measured.measure_of("option:yes,true|no,{wrong}")
    assert made.needs == "logits" and made.name == "P(yes|true)"
    assert measured.measure_of("contains:sorry,cannot").name == "contains sorry|cannot"
    assert {word: measured.measure_of(word).needs for word in ("refusal", "repetition", "perplexity", "kl")} == {
        "refusal": "text",
        "repetition": "text",
        "perplexity": "text",
        "kl": "model",
    }
    made = steering.measures.Outcome(gpt2, [{}], texts=[Generation("so kind and kind", [1], True)])
    assert measured.measure_of("lexicon:kind, gentle")(made).tolist() == [0.5]


def test_help_teaches_with_examples() -> None:
    said = " ".join(run("dose", "--help").split())
    assert said.count("Example: lens dose") == 2 and "option:" in said and "contains:" in said


def test_ablation_takes_its_strength_and_no_unit(direction: Path) -> None:
    folder = tiny.saved("llama")
    words = ["steer", "-m", folder, "--direction", direction, "-p", "the fox", "--max-new-tokens", "2", "--ablate"]
    known = Direction.from_vector(torch.ones(64), "resid_post.1", residual_norm=8.0, neutral=0.5)
    known.save(direction.with_name("known.safetensors"))
    words[4] = direction.with_name("known.safetensors")
    assert "ablated × 0.5" in run(*words, "--strength", "0.5") and "ablated × 1" in run(*words)
    seen: list[float] = []
    inner = steering.Ablate.__call__

    def spy(self: steering.Ablate, h: torch.Tensor) -> torch.Tensor:
        seen.append(float(torch.as_tensor(self.strength).max()))
        return inner(self, h)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steering.Ablate, "__call__", spy)
        run(*words, "--strength", "0.25")
    assert set(seen) == {0.25}
    with pytest.raises(LensError, match="--unit raw is for what is added"):
        run(*words, "--unit", "raw")
