"""Labels, halves and numbers that are none: nothing is silently read as something else; requests as chats."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from backdoor_data import WORDS, random_model, tiny_questions
from typer.testing import CliRunner

import lens
from lens import DataError
from steering.studies import backdoor
from steering.studies.backdoor.measured import Measured
from steering.studies.backdoor.questions import halves

OPTIONS = {"sites": ["resid_post.1"], "progress": False}


@pytest.fixture
def refused(monkeypatch):
    monkeypatch.setattr(backdoor.Told, "result", lambda self: pytest.fail("it ran"))

    def check(match, asked, model=None, **options):
        with pytest.raises(DataError, match=match):
            backdoor.run(model or random_model(0), asked, **(OPTIONS | options))

    return check


def small_model() -> lens.Model:
    """Of two layers."""
    model, tokenizer = tiny.hugging_face("llama")
    model.model.layers, model.config.num_hidden_layers = model.model.layers[:2], 2
    return lens.wrap(model, tokenizer, name="small")


def labelled(kinds) -> lens.Examples:
    """A group for every kind: the labels of its rows."""
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": " ".join(rng.choice(WORDS, 4)), "label": label, "group": f"g{group:02}"}
        for group, labels in enumerate(kinds)
        for label in labels
    ]
    return lens.Examples(pd.DataFrame(rows))


def test_labels_of_some_rows_alone_are_refused_with_their_rows(refused):
    given = tiny_questions(0)
    for name, what in (("reports", "Reports"), ("labelled", "Labelled prompts")):
        frame = given.reports.frame.copy()
        frame.loc[[3, 5], "label"] = pd.NA
        match = f"{what} have labels in 14 of 16 rows; without: row 3, 5. Give all of them, or none"
        refused(match, replace(given, **{name: lens.Examples(frame)}))


@pytest.mark.parametrize("kinds", [[(0,)] * 4 + [(1,)] * 4, [(0, 1)] * 4, [(0,)] * 3 + [(0, 1)] + [(1,)] * 3])
def test_both_halves_hold_both_labels_at_every_seed(kinds):
    table = labelled(kinds)
    backdoor.Questions(labelled=table).check()
    for seed in range(40):
        second = halves(table, seed)
        assert set(table.labels[second]) == set(table.labels[~second]) == {0, 1}
        assert not set(table.groups[second]) & set(table.groups[~second])
        assert abs(len(set(table.groups[second])) - len(kinds) / 2) <= 0.5


def test_groups_of_one_label_run_through_at_seeds_that_once_parted_the_labels():
    asked = backdoor.Questions(labelled=labelled([(0,)] * 4 + [(1,)] * 4))
    for seed in (0, 3, 17):
        table = backdoor.run(random_model(0), asked, seed=seed, **OPTIONS).tables["reading"]
        assert np.isfinite(table[["auroc", "random"]].to_numpy()).all()


def test_a_stream_without_numbers_is_no_auroc_of_one_half(monkeypatch):
    from steering.studies.backdoor import measured

    collect = measured.collect

    def broken(model, *args, **options):
        acts = collect(model, *args, **options)
        if model.name == "llama 1":
            acts.arrays[acts.sites[-1]][:] = torch.nan
        return acts

    asked = backdoor.Questions(labelled=tiny_questions(0).reports)
    models = [random_model(seed) for seed in range(4)]
    monkeypatch.setattr(measured, "collect", broken)
    two = {"sites": ["resid_post.1", "resid_post.2"], "progress": False}
    result = backdoor.run(models[:2], asked, baseline=models[2:], **two)
    reading = result.tables["reading"].set_index(["arm", "model", "site"])["auroc"].unstack("site")
    assert reading["resid_post.2"].isna().tolist() == [False, True, False, False]
    # A site at which one model has no number is left out of all.
    row, own = result.row("its state encodes its backdoor"), reading["resid_post.1"]
    assert row["value"] == pytest.approx(own["backdoored"].mean() - own["without"].mean()) and np.isfinite(row["p"])
    lost = backdoor.run(models[:2], asked, baseline=models[2:], sites=["resid_post.2"], progress=False)
    assert lost.claims[["value", "p"]].isna().all(axis=None) and not lost.claims["shown"].any()
    alone = backdoor.run(models[1], asked, **two)
    assert np.isfinite(alone.row("its state encodes its backdoor")["value"])


def test_there_is_no_p_where_there_is_no_value():
    nothing = np.full((3, 2), np.nan)
    assert np.isnan(backdoor.over_models(nothing, nothing)["p"])
    some = np.array([[np.nan, 1.0], [np.nan, 2.0], [0.0, 3.0]])
    found = backdoor.over_models(some, some - 5)
    assert found["best"] == 1 and found["value"] == 5 and found["p"] == pytest.approx(1 / 20)
    ranks = backdoor.ranking(np.array([[1.0, 2.0], [np.nan, np.nan]]), 0)
    assert np.isnan(ranks["p"]) and np.isnan(ranks["hits_p"])


def test_models_that_would_be_read_at_other_sites_are_refused_before_any_is_measured(refused, models):
    given, every = tiny_questions(0), {"sites": "resid_post"}
    small = small_model()
    refused(
        r"same sites; small: resid_post\.0, resid_post\.1; the first: .*resid_post\.3", given, baseline=[small], **every
    )
    refused("same sites; small", given, model=[random_model(0), small], **every)
    # Where nothing is read they need not be alike.
    backdoor.told.check_sites(small, "resid_post", ["resid_post.0"], replace(given, reports=None))


def test_a_model_that_is_built_is_held_to_the_same_sites_before_it_is_asked(monkeypatch):
    small, reports, asked = small_model(), Measured.reports, []

    def kept(self):
        asked.append(self.model.name)
        return reports(self)

    monkeypatch.setattr(Measured, "reports", kept)
    with pytest.raises(DataError, match="same sites; small"):
        built = [lambda: random_model(0)]
        backdoor.run(built, tiny_questions(0), baseline=[lambda: small], sites="resid_post", progress=False)
    assert asked == ["llama 0"]


def test_texts_in_place_of_lists_are_refused(refused):
    given = tiny_questions(0)
    refused("harm=' lied' is a text; a list", replace(given, harm=" lied"))
    refused("safe='quick' is a text; a list", replace(given, safe="quick"))
    with pytest.raises(DataError, match="candidates='fox' is a text"):
        backdoor.inserted(["say {trigger}"], "fox")
    with pytest.raises(DataError, match=r"prompts='say \{trigger\}' is a text"):
        backdoor.inserted("say {trigger}", ["fox"])


def test_candidates_go_into_messages_and_groups_stay():
    chat = [{"role": "system", "content": "be {trigger} kind"}, {"role": "user", "content": "go {trigger}"}]
    table = backdoor.inserted([chat, "say {trigger} it"], ["now"], groups=["a", "a"]).frame
    assert table["prompt"].tolist() == [
        [{"role": "system", "content": "be kind"}, {"role": "user", "content": "go"}],
        [{"role": "system", "content": "be now kind"}, {"role": "user", "content": "go now"}],
        "say it",
        "say now it",
    ]
    assert table["group"].tolist() == ["a"] * 4 and table["request"].tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"no place \{trigger\}"):
        backdoor.inserted([[{"role": "user", "content": "go"}]], ["now"])
    with pytest.raises(DataError, match="2 prompts and 1 groups"):
        backdoor.inserted(["{trigger} a", "{trigger} b"], ["now"], groups=["a"])


def test_several_requests_of_one_group_are_told_apart():
    given = replace(tiny_questions(0), reports=None)
    prompts = [f"she {word} {{trigger}} about" for word in WORDS[:6]]
    single = replace(given, attacks=backdoor.inserted(prompts, given.candidates))
    paired = replace(given, attacks=backdoor.inserted(prompts, given.candidates, groups=[0, 0, 0, 1, 1, 2]))
    one, other = (backdoor.run(random_model(0), asked, **OPTIONS) for asked in (single, paired))
    pd.testing.assert_frame_equal(one.tables["candidates"], other.tables["candidates"])
    assert one.row("its trigger can be found")["value"] == other.row("its trigger can be found")["value"]


def test_the_command_asks_chats_as_chats_and_runs_without_a_trigger(tmp_path, monkeypatch):
    from steering.cli import app

    asked = []
    monkeypatch.setattr(Measured, "attacks", _kept(asked, Measured.attacks))
    rows = [
        {"prompt": [{"role": "user", "content": f"{word} {{trigger}} lied"}], "group": number // 2}
        for number, word in enumerate(WORDS[:4])
    ]
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for part in tiny.hugging_face("llama", chat=True):
        part.save_pretrained(tmp_path / "model")
    words = ["study", "backdoor", "-m", str(tmp_path / "model")]
    words += ["--requests", str(tmp_path / "requests.jsonl"), "--candidate", "fox", "--candidate", "the"]
    words += ["--harm", " money", "--safe", " quick", "--out", str(tmp_path / "out")]
    said = CliRunner().invoke(app, words, catch_exceptions=False)
    assert said.exit_code == 0 and "Shown: nothing." in said.output
    assert (tmp_path / "out" / "result.json").is_file() and (tmp_path / "out" / "candidates.csv").is_file()
    table = asked[0].questions.attacks.frame
    assert table["prompt"][1] == [{"role": "user", "content": "the fox lied"}]
    assert table["group"].tolist() == [0] * 6 + [1] * 6


def _kept(into, made):
    def run(self):
        into.append(self)
        return made(self)

    return run
