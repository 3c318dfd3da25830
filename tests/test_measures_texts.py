"""Rules that read generated text, against counts by hand; what cannot be told is missing, and errors name the row."""

import numpy as np
import pytest

import lens
from lens.generation import Generation
from steering import measures
from steering.measures import Outcome


def said(model, *texts, finished=True, rows=None):
    made = [Generation(text, list(range(len(text.split()))), finished) for text in texts]
    return Outcome(model, rows or [{"number": k} for k in range(len(texts))], texts=made)


REFUSING = ["I'm sorry, no.", "  i’m SORRY", "I cannot say", "As an AI, I", "I apologize for that", "I am unable to"]
ANSWERING = ["Sure: I'm sorry to say", "The word is cannot", "She said I can't", "Sorry", "I am able to"]


def test_a_refusal_begins_with_one_of_the_phrases(gpt2):
    assert measures.refusal()(said(gpt2, *REFUSING)).tolist() == [1.0] * 6
    assert measures.refusal()(said(gpt2, *ANSWERING)).tolist() == [0.0] * 5
    assert measures.refusal(anywhere=True)(said(gpt2, *ANSWERING)).tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert measures.refusal(["No"])(said(gpt2, "no way", "I cannot")).tolist() == [1.0, 0.0]


def test_a_refusal_that_was_cut_off_counts_and_an_empty_text_does_not(gpt2):
    assert measures.refusal()(said(gpt2, "I cannot help you with", finished=False)).tolist() == [1.0]
    assert np.isnan(measures.refusal()(said(gpt2, "", "  "))).all()


def test_an_empty_phrase_is_refused():
    with pytest.raises(lens.DataError, match="an empty one begins every answer"):
        measures.refusal(["no", " "])


@pytest.mark.parametrize(
    ("ids", "n", "share"),
    [
        ([1, 2, 3, 4, 5], 4, 0.0),
        ([1, 2, 3, 4] * 3, 4, 1 - 4 / 9),
        ([7] * 10, 4, 1 - 1 / 7),
        ([1, 2, 1, 2, 3], 2, 1 - 3 / 4),
        ([1, 1, 2], 1, 1 / 3),
        ([1, 2, 3], 4, np.nan),
        ([], 1, np.nan),
    ],
)
def test_repetition_is_the_share_of_n_grams_that_occurred_before(gpt2, ids, n, share):
    made = Outcome(gpt2, [{}], texts=[Generation("a", ids, finished=False)])
    assert measures.repetition(n=n)(made) == pytest.approx([share], nan_ok=True)


def test_a_lexicon_counts_its_words_with_their_weights(gpt2):
    made = said(gpt2, "I am Glad, glad and not sad.", "nothing of it", "don't")
    assert measures.lexicon(["glad", "sad"], name="mood")(made) == pytest.approx([3 / 7, 0.0, 0.0])
    assert measures.lexicon({"glad": 1.0, "sad": -2.0}, name="mood")(made) == pytest.approx([0.0, 0.0, 0.0])
    assert measures.lexicon({"don’t": 0.5}, name="mood")(made) == pytest.approx([0.0, 0.0, 0.5])
    assert np.isnan(measures.lexicon(["glad"], name="mood")(said(gpt2, "?!", ""))).all()
    with pytest.raises(lens.DataError, match="one word; given: 'not glad'"):
        measures.lexicon(["not glad"], name="mood")


def test_cut_off_texts_are_missing_unless_asked_for(gpt2):
    made = said(gpt2, "glad to be here", finished=False)
    for measure in (
        lambda cut_off: measures.lexicon(["glad"], name="mood", cut_off=cut_off),
        lambda cut_off: measures.text(lambda text, row: 0.25, name="quarter", cut_off=cut_off),
        lambda cut_off: measures.judge(lambda texts, rows: [0.25], name="judge", cut_off=cut_off),
    ):
        assert np.isnan(measure(False)(made)).all()
        assert measure(True)(made).tolist() == [0.25]


def test_a_judge_sees_batches_of_whole_texts_with_their_rows(gpt2):
    seen = []

    def score(texts, rows):
        seen.append([(text, row["number"]) for text, row in zip(texts, rows, strict=True)])
        return [None if text == "mumble" else len(text) for text in texts]

    got = measures.judge(score, name="length", batch=2)(said(gpt2, "ab", "", "abc", "mumble", "a"))
    assert seen == [[("ab", 0), ("abc", 2)], [("mumble", 3), ("a", 4)]]
    assert got == pytest.approx([2, np.nan, 3, np.nan, 1], nan_ok=True)


def test_errors_name_the_row(gpt2):
    def fails(text, row):
        return 1.0 if row["number"] < 2 else text.no_such_method()

    with pytest.raises(lens.DataError, match=r"Row 2: 'own' failed on 'c': AttributeError"):
        measures.text(fails, name="own")(said(gpt2, "a", "b", "c"))
    with pytest.raises(lens.DataError, match=r"Row 0: 'own' failed on 'a': ValueError"):
        measures.text(lambda text, row: "many", name="own")(said(gpt2, "a"))
    for answer in ([1.0], [1.0, 2.0, 3.0], ["yes", "no"], 1.0):
        with pytest.raises(lens.DataError, match="Rows 0, 2: 'judge' failed"):
            measures.judge(lambda texts, rows, answer=answer: answer, name="judge")(said(gpt2, "a", "", "c"))
    with pytest.raises(lens.DataError, match="no column 'answer'"):
        measures.contains("{answer}")(said(gpt2, "a"))


def test_text_measures_need_texts(gpt2):
    for measure in (measures.refusal(), measures.repetition(), measures.judge(lambda texts, rows: [], name="judge")):
        assert measure.needs == "text"
        with pytest.raises(lens.DataError, match="needs generated text"):
            measure(Outcome(gpt2, [{}]))
