"""What the study of self-knowledge cannot be asked, told before anything runs; and how answers may be given."""

import numpy as np
import pytest
from asked import asked

import lens
from lens import DataError, ModelError
from steering.studies import self_knowledge


def test_bad_questions_are_told_before_anything_runs(llama, models):
    rows = asked(30, 0)
    with pytest.raises(DataError, match="Give questions"):
        self_knowledge.run(llama)
    with pytest.raises(ModelError, match="encoder"):
        self_knowledge.run(models("bert"), rows)
    with pytest.raises(DataError, match="need a column 'right'; available: prompt"):
        self_knowledge.run(llama, lens.Examples.from_texts(["a", "b"]))
    frame = rows.frame.copy()
    frame.at[3, "wrong"] = [" no", " maybe"]
    with pytest.raises(DataError, match="Row 3 has 2 wrong answers; each needs as many as row 0: 1"):
        self_knowledge.run(llama, lens.Examples(frame))
    with pytest.raises(DataError, match="one has to be 'plain'; given: hint"):
        self_knowledge.run(llama, lens.Examples(rows.frame.assign(context="hint")))
    frame = rows.frame.assign(right=[None, *rows.frame["right"][1:]])
    with pytest.raises(DataError, match=r"Row 0: the right answer is (None|nan)"):
        self_knowledge.run(llama, lens.Examples(frame))
    one_sided = rows.frame.assign(wrong=[[" quick brown fox"]] * 30, right=" yes")
    with pytest.raises(DataError, match="knows 100% of the questions"):
        self_knowledge.run(llama, lens.Examples(one_sided), progress=False)
    with pytest.raises(DataError, match=r"groups hold questions that are (not )?known; 15 folds need"):
        self_knowledge.run(llama, rows.select(np.arange(20)), folds=15, progress=False)
    with pytest.raises(DataError, match="shots need as many questions of other groups"):
        self_knowledge.run(llama, lens.Examples(rows.frame), shots=40, progress=False)


def test_wrong_answers_may_be_given_with_bars_between_them(llama):
    rows = asked(30, 0)
    barred = lens.Examples(rows.frame.assign(wrong=["|".join(few) for few in rows.frame["wrong"]]))
    assert self_knowledge.Questions.of(barred).answers == self_knowledge.Questions.of(rows).answers
