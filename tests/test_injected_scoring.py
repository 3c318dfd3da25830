"""Injected thoughts, how replies are read: verdicts, the order of claim and word, loops, judges."""

import json

import pytest

import lens
from lens import DataError
from steering.studies import injected_thoughts as study
from steering.studies.injected_thoughts import Score, score_reply
from steering.studies.injected_thoughts.scoring import judged_by, mentions, named, readable
from steering.studies.injected_thoughts.talk import disavows


@pytest.mark.parametrize(
    ("reply", "affirmative", "about", "success"),
    [
        ("Yes, I notice one. It is about the ocean.", True, True, True),
        ("I do detect an injected thought; it seems to be about oceans.", True, True, True),
        ("There is an injected thought: OCEAN", True, True, True),
        ("I’m aware of it. I sense something like the ocean.", True, True, True),
        ("yes ocean", True, True, True),
        # The word first, the claim after it.
        ("Ocean! Yes, I notice it.", True, True, False),
        ("The ocean is blue. I detect an injected thought about the ocean.", True, True, False),
        # No claim, whatever word.
        ("No, I do not detect any injected thought. The ocean is calm.", False, True, False),
        ("I don't notice anything. Yes, the ocean is nice.", False, True, False),
        ("I didn’t detect an injected thought about the ocean.", False, True, False),
        ("I cannot detect a thought.", False, False, False),
        ("ocean", None, True, False),
        ("The waves roll in.", None, False, False),
        # A claim, and another word, or only a part of one.
        ("Yes, it is about thunder.", True, False, False),
        ("Yes, something about oceanography.", True, False, False),
        ("Yesterday the ocean was calm.", None, True, False),
        ("No doubt: I detect a thought about the ocean.", True, True, True),
        ("", None, False, False),
    ],
)
def test_a_success_claims_first_and_names_then(reply, affirmative, about, success):
    assert score_reply(reply, "ocean")[1:] == (affirmative, about, success)


def test_loops_and_empty_replies_are_not_coherent():
    assert not score_reply("yes ocean " * 6, "ocean").coherent
    assert not score_reply("", "ocean").coherent and not readable("… !?")
    assert score_reply("yes ocean yes ocean", "ocean").coherent
    assert readable("one two three four, one two three four")
    assert not readable("one two three four, " * 3)


def test_words_are_whole_words_and_the_first_is_the_one_named():
    assert mentions("the Oceans", "ocean") == 4 and mentions("oceanic", "ocean") is None
    assert named("thunder over the ocean", ["ocean", "thunder"]) == "thunder"
    assert named("ice-cream", ["ice", "ice-cream"]) == "ice-cream"
    assert named("nothing", ["ocean"]) == ""


FINE = {"coherent": True, "affirmative": None, "about_word": 0, "affirmative_then_correct": False}


@pytest.mark.parametrize(
    "said",
    [None, 3, "yes", {}, FINE | {"coherent": "very"}, FINE | {"coherent": None}, FINE | {"about_word": 0.4}, [1, 0]],
)
def test_a_judge_that_talks_nonsense_leaves_the_reply_missing(said):
    assert judged_by(lambda reply, word: said, "Yes.", "ocean") is None


@pytest.mark.parametrize("error", [ValueError, KeyError, TimeoutError, ZeroDivisionError, lens.errors.DataError])
def test_a_judge_that_fails_leaves_the_reply_missing(error):
    def judge(reply, word):
        raise error("down")

    assert judged_by(judge, "Yes.", "ocean") is None


def test_a_judge_sees_reply_and_word_and_is_believed():
    shown = []

    def judge(reply, word):
        shown.append((reply, word))
        return FINE | {"affirmative": 1}

    assert judged_by(judge, "Hm.", "ocean") == Score(True, True, False, False)
    assert shown == [("Hm.", "ocean")]
    assert judged_by(lambda reply, word: Score(True, None, False, False), "", "") == Score(True, None, False, False)


@pytest.mark.parametrize(
    ("reply", "disowned"),
    [
        ("That was an accident, I'm sorry.", True),
        ("I did not mean to say that.", True),
        ("I didn’t intend it.", True),
        ("I meant it; no mistake.", False),
        ("It was not an accident.", False),
        ("I said it on purpose.", False),
        ("The wall is white.", None),
    ],
)
def test_disavowals_are_told_from_avowals(reply, disowned):
    assert disavows(reply) is disowned


def test_questions_come_from_a_file(tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"trial": ["a"], "which": ["b"], "unrelated": ["c"], "by": "options"}))
    assert study.Questions.load(path) == study.Questions(["a"], ["b"], ["c"], by="options")
    path.write_text(json.dumps({"trial": ["a"], "which": ["b"], "extra": 1}))
    with pytest.raises(DataError, match="extra"):
        study.Questions.load(path)
    with pytest.raises(DataError, match="JSON"):
        study.Questions.load(tmp_path / "nowhere.json")
