"""Text-only classifiers: what they read, and that their scores are remembered and not mistaken for others."""

import importlib

import numpy as np
import pytest

from lens import text_only


def test_the_character_ngrams_are_fitted_on_a_part_of_many_rows(monkeypatch):
    monkeypatch.setattr(text_only, "SPELLING_ROWS", 10)
    labels = np.arange(40) % 2
    scores = text_only.text_scores(
        "char_ngrams", [f"{'a' if y else 'b'}{k}" for k, y in enumerate(labels)], labels, ["a", "b"]
    )
    assert scores[0] > 0 > scores[1]


@pytest.mark.parametrize("name", text_only.TEXT_ONLY)
def test_texts_with_nothing_in_them_are_told_apart_by_nothing(name):
    labels = np.arange(10) % 2
    assert len(set(text_only.text_scores(name, [""] * 10, labels, ["x", "yes", ""]))) == 1


def test_the_latest_text_scores_are_remembered_and_no_more_than_so_many(monkeypatch):
    module = importlib.import_module("lens.text_only")
    monkeypatch.setattr(module, "_remembered", {})
    monkeypatch.setattr(module, "REMEMBERED", 3)
    labels, plan = np.tile([0, 1], 10), [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]
    asked, original = [], module.text_scores
    monkeypatch.setattr(module, "text_scores", lambda *given, **more: asked.append(1) or original(*given, **more))
    texts = [[f"w{k} {'x ' * (k % (3 + n))}" for k in range(20)] for n in range(4)]
    for of in texts:
        module.text_fold_scores("length", of, labels, plan)
    assert len(module._remembered) == 3 and len(asked) == 8
    for of in texts[1:]:
        module.text_fold_scores("length", of, labels, plan)
    assert len(asked) == 8
    module.text_fold_scores("length", texts[0], labels, plan)
    assert len(asked) == 10


def test_text_scores_of_folds_that_are_cut_elsewhere_are_others():
    labels, texts = np.tile([0, 1], 10), [f"w {'x ' * (k % 7)}" for k in range(20)]
    rows = np.arange(20)
    cuts = [[(rows[:12], rows[12:])], [(rows[:8], rows[8:])]]
    short, long = (text_only.text_fold_scores("length", texts, labels, plan) for plan in cuts)
    assert np.isnan(short).sum() == 12 and np.isnan(long).sum() == 8


def test_an_error_of_a_text_classifier_is_not_taken_for_texts_without_words():
    with pytest.raises(ValueError, match="class"):
        text_only.text_scores("bag_of_words", ["a", "b"], np.array([1, 1]), ["a"])


def test_text_scores_are_remembered_and_not_mistaken_for_others(monkeypatch):
    module = importlib.import_module("lens.text_only")
    rng = np.random.default_rng(0)
    texts, labels = [f"w{k} w{k % 3}" for k in rng.integers(0, 9, 60)], np.tile([0, 1], 30)
    plan = [(np.arange(30), np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    first = module.text_fold_scores("bag_of_words", texts, labels, plan)
    first[:] = 0  # what is handed out is the caller's own
    asked = []
    original = module.text_scores
    monkeypatch.setattr(module, "text_scores", lambda *given, **more: asked.append(1) or original(*given, **more))
    again = module.text_fold_scores("bag_of_words", texts, labels, plan)
    assert not asked and again.std() > 0
    others = [
        ("length", texts, labels, plan, 0),
        ("bag_of_words", texts[::-1], labels, plan, 0),
        ("bag_of_words", texts, 1 - labels, plan, 0),
        ("bag_of_words", texts, labels, plan[::-1], 0),
        ("bag_of_words", texts, labels, plan, 1),
    ]
    for number, (name, of, wanted, folds, seed) in enumerate(others, start=1):
        module.text_fold_scores(name, of, wanted, folds, seed=seed)
        assert len(asked) == 2 * number
