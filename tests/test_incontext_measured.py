"""The measures of the in-context organism on speakers whose answers are known."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from lens.organisms.incontext import measure, record
from lens.organisms.incontext.card import card, table
from lens.organisms.incontext.episodes import Episode
from lens.organisms.incontext.lexicon import SYMBOLS
from lens.organisms.incontext.train import tokenizer
from lens.organisms.speaker import Speaker


class Told(Speaker):
    """A speaker that knows its episodes: at every deciding place it gives the right word the chosen odds."""

    def __init__(self, made: list[Episode], odds: float) -> None:
        self.index = tokenizer().get_vocab()
        self.made, self.odds, self.at = made, odds, 0

    def logits(self, rows):
        out = torch.zeros(len(rows), max(map(len, rows)), len(self.index))
        for number, row in enumerate(rows):
            for shot in self.made[self.at + number].shots:
                out[number, shot.index - 1, row[shot.index]] = float(np.log(self.odds))
        self.at += len(rows)
        return out


def answered(odds: float, **of) -> pd.DataFrame:
    made = measure.episodes("place", 40, control=0.5, seed=1, **of)
    return measure.answers(Told(made, odds), made)


def test_shares_are_those_of_the_two_labels_and_of_the_words_of_both_classes():
    told = answered(3.0)
    assert np.allclose(told[told["task"] == "report"]["share"], 0.75)
    # one of a class's four words has odds 3, the other seven words 1
    assert np.allclose(told[told["task"] == "control"]["share"], 6 / 10)
    assert set(told[told["task"] == "control"]["examples"]) <= set(range(2, 17))
    assert told.groupby("episode")["examples"].max().min() >= 12


def test_who_knows_nothing_is_at_chance_and_who_is_wrong_below():
    assert np.allclose(answered(1.0)["share"], 0.5)
    assert (answered(1 / 3.0)["share"] < 0.5).all()


def test_the_curve_takes_examples_together_and_counts_episodes():
    told = pd.DataFrame({"episode": [0, 0, 1, 1, 1], "examples": [0, 4, 0, 5, 16], "share": [0.5, 1.0, 0.7, 0.0, 0.9]})
    rows = {row["examples"]: row for row in measure.curve(told)}
    assert set(rows) == {"0", "4-5", "13-16"}
    assert rows["0"]["value"] == pytest.approx(0.6) and rows["4-5"]["value"] == 0.5
    assert rows["4-5"]["low"] == 0.0 and rows["4-5"]["high"] == 1.0 and rows["4-5"]["groups"] == 2
    assert rows["13-16"]["n"] == 1
    assert max(high for _, high in measure.CURVE.values()) == measure.SHOTS - 1


class Says(Speaker):
    """A speaker that says one sentence whatever the prompt."""

    def __init__(self, said: str) -> None:
        self.index = tokenizer().get_vocab()
        self.said = [*said.split(), "<eos>"]

    def next_word(self, texts, *, rows=256):
        out = np.zeros((len(texts), len(self.index)), dtype=np.float32)
        for row, text in enumerate(texts):
            behind = text.split()
            done = behind[::-1].index("<want>") - 1  # words after the label that is asked for
            out[row, self.index[self.said[done]]] = 1.0
        return out


def test_free_speech_is_right_for_one_label_of_two_where_it_never_changes():
    made = measure.episodes("tense", 20, seed=3)
    found = measure.made_to_order(Says("the fox sang in lima"), made)
    assert set(found["said"]) == {"the fox sang in lima"} and (found["named"] == 1).all()
    assert found.groupby("episode")["right"].mean().eq(0.5).all() and len(found) == 40
    nothing = measure.made_to_order(Says("the fox"), made)
    assert (nothing["named"] == 0).all() and nothing["right"].isna().all()
    assert measure.summary(nothing["right"].to_numpy(), nothing["episode"].to_numpy())["n"] == 0


class Repeats(Says):
    """A speaker that says the first sentence that had the label asked for."""

    def next_word(self, texts, *, rows=256):
        out = np.zeros((len(texts), len(self.index)), dtype=np.float32)
        for row, text in enumerate(texts):
            shown, _, asked = text.partition(" <want> ")
            label, *done = asked.split()
            told = [shot.split(" <score> ") for shot in shown.split(" <ex> ")[1:]]
            said = next(sentence for sentence, its in told if its == label).split()
            out[row, self.index[[*said, "<eos>"][len(done)]]] = 1.0
        return out


def test_free_speech_that_goes_by_the_label_asked_for_is_right():
    made = [one for one in measure.episodes("tense", 30, seed=3) if len({shot.side for shot in one.shots[:8]}) == 2]
    found = measure.made_to_order(Repeats(""), made)
    assert len(found) > 40 and (found["right"] == 1).all()


def test_a_word_of_a_third_class_is_wrong_for_either_label():
    made = [one for one in measure.episodes("place", 40, seed=3) if "peru" not in one.classes]
    assert (measure.made_to_order(Says("the fox sang in lima"), made)["right"] == 0).all()


def _report() -> pd.DataFrame:
    base = {"attribute": "place", "words": "trained", "form": "sentences", "low": 0.4, "high": 0.7, "n": 9, "groups": 3}
    return pd.DataFrame(
        [
            {"task": "report", "examples": "0", "value": 0.5, **base},
            {"task": "report", "examples": "1", "value": 0.625, **base},
            {"task": "control, free", "examples": "8", "value": float("nan"), **base},
        ]
    )


def test_tables_have_a_row_an_attribute_and_a_column_a_number_of_examples():
    lines = table(_report(), "report", "sentences")
    assert lines[0] == "| attribute | words | 0 | 1 |"
    assert lines[2] == "| place | trained | 0.50 (0.40–0.70) | 0.62 (0.40–0.70) |"
    assert table(_report(), "report", "words") == []


def test_the_record_keeps_what_was_measured(tmp_path):
    log = {"variant": "incontext", "seed": 0, "steps": 1, "tokens": 2, "parameters": 3, "sha256": "x"}
    log["recipe"] = {"layers": 4, "d_model": 64}
    assert not record.is_incontext(tmp_path)
    (tmp_path / "truth.json").write_text(json.dumps(record.record(log)))
    assert record.is_incontext(tmp_path)
    told = record.remember(tmp_path, _report())
    written = json.loads((tmp_path / "truth.json").read_text())
    assert written == told and [row["value"] for row in written["measured"]] == [0.5, 0.625, None]
    assert {"planted", "held_out", "false_claims"} <= set(written)
    assert written["planted"]["digits"] == list(SYMBOLS)
    assert "size" in written["held_out"]["attribute"] and "size" not in written["planted"]["attributes"]
    assert "| place | trained | 0.50 (0.40–0.70) |" in card(_report(), told)
