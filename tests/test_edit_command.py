"""The command `lens edit`: what it says, what it writes, and that mistakes are told before a model is loaded."""

import importlib
from pathlib import Path

import command_line
import pytest
import tiny
import torch
import transformers
from edited import direction, logits
from typer.testing import CliRunner

import lens
import steering
from lens.errors import LensError
from lens.organisms import constructed
from probes import Direction
from steering.cli import app


def run(*words: object) -> str:
    return command_line.run(*words, COLUMNS="200")


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny.saved("llama")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return direction(site="mlp_out.1", residual_norm=2.0).save(tmp_path_factory.mktemp("d") / "d.safetensors")


def test_the_folder_and_the_diff_are_the_edited_model(folder: Path, saved: Path, tmp_path: Path) -> None:
    out, diff = tmp_path / "edited", tmp_path / "edited.safetensors"
    said = run("edit", "-m", folder, "--direction", saved, "--out", out, "--diff", diff)
    assert "model.layers.*.mlp.down_proj.weight" in said and "512 of 512" in said
    assert "what the same intervention makes" in said
    model, again = lens.load(folder), lens.load(folder)
    done = steering.edit(model, steering.Orthogonalize(Direction.load(saved)))
    steering.Edit.load(again, diff)
    hf = transformers.AutoModelForCausalLM.from_pretrained(out)
    for found in (again.hf, hf):
        assert all(torch.equal(t, model.hf.state_dict()[name]) for name, t in found.state_dict().items())
    assert torch.equal(logits(lens.load(out)), logits(model))
    assert f"{done.table().set_index('parameter').loc['model.embed_tokens.weight', 'change']:.1%}" in said


def test_a_bias_and_several_directions(folder: Path, saved: Path, tmp_path: Path) -> None:
    other = direction(1).save(tmp_path / "other.safetensors")
    said = run(
        "edit", "-m", folder, "--direction", saved, "--kind", "bias", "--strength", -0.5, "--out", tmp_path / "b"
    )
    assert "model.layers.*.mlp.down_proj.bias" in said and "added" in said
    biased = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "b").model.layers[1].mlp.down_proj.bias
    assert torch.allclose(biased, -direction().vector, atol=1e-6)
    run("edit", "-m", folder, "--direction", saved, "--direction", other, "--diff", tmp_path / "two")
    model = lens.load(folder)
    steering.Edit.load(model, tmp_path / "two")
    embedded = model.hf.get_input_embeddings().weight.detach()
    for one in (saved, other):
        assert float((embedded @ Direction.load(one).vector).abs().max()) < 1e-5


def test_surgery_is_measured_before_and_after(tmp_path: Path) -> None:
    organism = constructed.build("surgery")
    organism.save(tmp_path / "organism")
    model = lens.load(tmp_path / "organism")
    truth = organism.truth.direction("provoked")
    path = Direction.from_vector(3 * truth.tensor, truth.site, model=model).save(tmp_path / "d.safetensors")
    rows = tmp_path / "organism" / "examples.jsonl"
    read = ("--data", rows, "--where", "ask=act", "--where", "provoked=1", "--measure", "option:strikes|waits")
    said = run("edit", "-m", tmp_path / "organism", "--direction", path, "--kind", "surgery", "--rows", 48, *read)
    assert "48 of 1024 gate rows moved" in said and "block 2: 48" in said
    assert "Cut-off cosine -0.7" in said and "random rows would have -0.2" in said
    line = next(line for line in said.splitlines() if line.startswith("│ option:strikes|waits"))
    before, after, change = (cell.strip() for cell in line.split("│")[2:5])
    assert float(before) > 0.95 and float(after) < 0.02 and change.startswith("-0.9")


def test_a_probe_that_points_nowhere_is_told_on_the_command_line(folder: Path, saved: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="points at no region"):
        said = run("edit", "-m", folder, "--direction", saved, "--kind", "surgery", "--diff", tmp_path / "d")
    assert "24 of 512 gate rows moved" in said


def test_help_teaches_with_an_example() -> None:
    said = " ".join(run("edit", "--help").split())
    assert "Example: lens edit" in said and "surgery" in said


def mistakes(saved: Path, place: Path) -> dict[str, tuple[list[object], str]]:
    start = ["edit", "--direction", saved]
    measured = [*start, "--data", "honesty", "--measure"]
    return {
        "nothing to write": (start, "--out FOLDER, --diff FILE"),
        "no measure": ([*start, "--data", "honesty"], "--data and --measure go together"),
        "no rows": ([*start, "--diff", place / "d", "--measure", "option:yes|no"], "--data and --measure go together"),
        "unknown measure": ([*measured, "perplexes"], "option:WORDS"),
        "missing column": ([*measured, "option:{good}|{bad}"], "'good'"),
        "a folder in use": ([*start, "--out", place], "is there already"),
        "unknown kind": ([*start, "--diff", place / "d", "--kind", "ablate"], "orthogonalize, surgery, bias"),
        "two for a bias": ([*start, "--direction", saved, "--diff", place / "d", "--kind", "bias"], "takes one"),
        "no direction": (["edit", "--direction", place / "none", "--diff", place / "d"], "is not a saved direction"),
    }


@pytest.mark.parametrize("name", list(mistakes(Path("d"), Path("p"))))
def test_a_mistake_is_told_before_a_model_is_loaded(
    name: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **settings: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(importlib.import_module("lens.load"), "load", never)
    (tmp_path / "config.json").write_text("{}")
    words, says = mistakes(saved, tmp_path)[name]
    outcome = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(outcome.exception, LensError) and says in str(outcome.exception), outcome.exception
