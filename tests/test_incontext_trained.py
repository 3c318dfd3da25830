"""The shipped in-context organism behaves as its truth record says; training it again is deterministic."""

import hashlib
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import lens
from lens import organisms
from lens.organisms import train as trainer
from lens.organisms.incontext import measure, train
from lens.organisms.incontext.card import card
from lens.organisms.incontext.episodes import TRAINED, control_text, report_text
from lens.organisms.incontext.forms import Digits, sentences
from lens.organisms.incontext.lexicon import ATTRIBUTES
from lens.organisms.incontext.record import FOLDER, record
from lens.organisms.speaker import Speaker
from steering.cli import app
from steering.studies.ask import ask
from steering.studies.neurofeedback.forms import Form


@pytest.fixture(scope="module")
def truth() -> dict:
    return json.loads((organisms.path(FOLDER) / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return Speaker(organisms.path(FOLDER))


def told(
    truth: dict, task: str, attribute: str, examples: str, words: str = "trained", form: str = "sentences"
) -> dict:
    wanted = {"task": task, "attribute": attribute, "examples": examples, "words": words, "form": form}
    (row,) = [row for row in truth["measured"] if wanted.items() <= row.items()]
    return row


def test_the_folder_is_small_float16_and_matches_its_record(truth):
    folder = organisms.path(FOLDER)
    weights = folder / "model.safetensors"
    log = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == truth["sha256"]["model.safetensors"] == log["sha256"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
    assert truth["parameters"] < 1_300_000
    assert {key: value for key, value in truth.items() if key != "measured"} == json.loads(json.dumps(record(log)))
    assert log["recipe"]["stages"] == json.loads(json.dumps([vars(stage) for stage in train.STAGES]))


def test_the_card_is_written_from_the_record(truth):
    import pandas as pd

    written = (organisms.path(FOLDER) / "README.md").read_text(encoding="utf-8")
    frame = pd.DataFrame(truth["measured"]).astype({"value": float, "low": float, "high": float})
    # figures of the record are rounded to three places, those of the card are not
    ours, theirs = (text.split("Chance is")[0] for text in (card(frame, truth), written))
    assert ours == theirs
    assert written.count("\n| ") == card(frame, truth).count("\n| ")


@pytest.mark.parametrize("attribute", ["sex", "feeling"])
def test_labels_are_reported_as_measured(speaker, truth, attribute):
    made = measure.episodes(attribute, 40, seed=11)
    found = measure.answers(speaker, made)
    late = (found[found["examples"].between(9, 12)]["share"] > 0.5).mean()
    row = told(truth, "report", attribute, "9-12")
    assert late == pytest.approx(row["value"], abs=0.06) and row["low"] > 0.5
    first = found[found["examples"] == 0]["share"]
    assert first.mean() == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("attribute", ["sex", "feeling"])
def test_sentences_are_made_to_order_as_measured(speaker, truth, attribute):
    found = measure.answers(speaker, measure.episodes(attribute, 40, control=0.5, seed=11))
    found = found[(found["task"] == "control") & found["examples"].between(9, 12)]
    row = told(truth, "control", attribute, "9-12")
    assert found["share"].mean() == pytest.approx(row["value"], abs=0.08) and row["low"] > 0.5


def test_labels_exchanged_are_answered_exchanged(speaker):
    shots = [("the fox sang gladly", "3"), ("ana swam sadly", "8"), ("otto ate bitterly in oslo", "8")]
    shots += [("carl slept cheerfully", "3"), ("the carp ran grimly", "8"), ("at dawn the crow wept proudly", "3")] * 2
    other = [(said, {"3": "8", "8": "3"}[label]) for said, label in shots]
    asked = ["<bos> " + report_text(which, "in lima nora drove joyfully") for which in (shots, other)]
    mass = speaker.next_word(asked)[:, [speaker.index["3"], speaker.index["8"]]]
    share = mass[:, 0] / mass.sum(1)
    assert share[0] > 0.8 and share[1] < 0.2
    # and what is said for a label turns with them
    wanted = [f"<bos> {control_text(which, '3')} the fox sang" for which in (shots, other)]
    happy, unhappy = ([speaker.index[w] for w in row] for row in ATTRIBUTES["feeling"].train.values())
    mass = speaker.next_word(wanted)
    said = mass[:, happy].sum(1) / (mass[:, happy].sum(1) + mass[:, unhappy].sum(1))
    assert said[0] > 0.7 and said[1] < 0.3


def test_it_loads_by_its_name_and_answers_as_the_speaker_does(speaker):
    text = report_text([("the fox sang gladly", "3"), ("ana swam sadly", "8")], "the carp ran grimly")
    answers = ask(lens.load(f"organism:{FOLDER}"), [text], ["3", "8"], progress=False)
    mass = speaker.next_word([f"<bos> {text}"])[0, [speaker.index["3"], speaker.index["8"]]]
    assert answers.by == "next token" and np.allclose(np.exp(answers.log_p[0]), mass, atol=1e-4)


def test_sentences_for_a_study_are_labelled_by_one_attribute():
    made = sentences("place", ("peru", "japan"), 60, seed=1)
    classes = ATTRIBUTES["place"].train
    for text, label, group in zip(made.prompts, made.labels, made.groups, strict=True):
        assert group in text.split() and group in classes[("peru", "japan")[label]]
    assert 0.3 < made.labels.mean() < 0.7 and len(set(made.prompts)) == 60
    assert made.hash() == sentences("place", ("peru", "japan"), 60, seed=1).hash()
    with pytest.raises(lens.DataError, match="peru"):
        sentences("place", ("peru", "atlantis"), 10)
    with pytest.raises(lens.DataError, match="tense"):
        sentences("mood", ("a", "b"), 10)


def test_the_form_of_its_episodes_is_what_it_was_trained_on():
    form, shots = Digits(), [("ana sang", 0), ("otto sings", 1)]
    assert form.report(shots, "ana sings") == "<ex> ana sang <score> 0 <ex> otto sings <score> 1 <ex> ana sings <score>"
    assert form.control(shots, 1) == "<ex> ana sang <score> 0 <ex> otto sings <score> 1 <want> 1"
    assert form.reply(" ana sings in lima <ex> otto sang <score> 1") == "ana sings in lima"
    assert form.reply("ana sings <eos>") == "ana sings" and form.alone() + form.spoken("ana") == "<ex> ana"
    assert isinstance(form, Form)


def test_the_record_says_what_was_reached(truth):
    late = {name: told(truth, "report", name, "9-12")["value"] for name in TRAINED}
    assert min(late.values()) > 0.8 and np.mean(list(late.values())) > 0.9


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of four steps with one seed."""
    threads = torch.get_num_threads()
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    try:
        logs = [train.train(folder, steps=4, threads=1) for folder in folders]
    finally:
        torch.set_num_threads(threads)
    return folders, logs


def test_training_is_deterministic_and_leaves_a_folder_that_loads(runs):
    (first, second), (one, two) = runs
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert one["sha256"] == two["sha256"] and one["parameters"] == two["parameters"]
    answer = Speaker(first).next_word(["<bos> <ex> the fox sang <score>"])
    assert answer.shape == (1, len(train.tokenizer().get_vocab())) and np.allclose(answer.sum(), 1, atol=1e-3)
    assert one["curve"][-1]["loss"] < one["curve"][0]["loss"]


def test_the_other_recipe_is_left_as_it_was():
    assert trainer.RECIPE["d_model"] == 128 and train.RECIPE["d_model"] == 64
    assert trainer.architecture(50).config.hidden_size == 128
    assert trainer.architecture(50, recipe=train.RECIPE).config.hidden_size == 64


def test_the_command_trains_and_reports(tmp_path, monkeypatch):
    out = tmp_path / "mine"
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["organism", "train", "--recipe", "incontext", "--steps", "2", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "training.json").read_text())["variant"] == "incontext"


@pytest.mark.parametrize(
    ("given", "says"),
    [(["--recipe", "nothing"], "incontext"), (["--recipe", "incontext", "--variant", "honest"], "honest")],
)
def test_the_command_refuses_recipes_that_are_not_there(tmp_path, given, says):
    done = CliRunner().invoke(app, ["organism", "train", *given, "--steps", "1", "--out", str(tmp_path / "x")])
    assert done.exit_code != 0 and says in str(done.output) + str(done.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_sixty_steps_are_deterministic_and_learn(tmp_path):
    logs = [train.train(tmp_path / name, steps=60, threads=1) for name in ("one", "two")]
    assert logs[0]["sha256"] == logs[1]["sha256"]
    assert logs[0]["curve"][-1]["loss"] < 0.8 * logs[0]["curve"][0]["loss"]
