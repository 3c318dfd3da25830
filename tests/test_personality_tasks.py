"""The tasks of the study of personality: optimal play, bias scores, flips; strict rules, and judges that misbehave."""

import functools
from math import comb

import numpy as np
import pytest
import tiny

import lens
from lens import DataError, ModelError
from lens.generation import Generation
from steering.studies.ask import ask
from steering.studies.personality import Behaviour, tasks
from steering.studies.personality.behaving import behave
from steering.studies.personality.tasks import asking
from steering.studies.personality.tasks.asking import BY_OPTIONS, Asking, Talk
from steering.studies.personality.tasks.columbia_card import ROUNDS, _number, alone
from steering.studies.personality.tasks.iat import _parsed
from steering.studies.personality.tasks.sycophancy import _yes_or_no

SHORT = {"question": "{dilemma}", "opinion": "{other}", "again": "so", "options": ("yes", "no"), "progress": False}
QUICK = {name: value for name, value in SHORT.items() if name != "progress"}
ANY, TEXT = Asking(least_mass=0.0), Asking(by="text")
FOXES = ("a fox?", "was she?", "the money?", "brown?")


@functools.cache
def model(chat: bool = False):
    return lens.wrap(*tiny.hugging_face("gpt2", chat=chat), name="gpt2")


def talk(chat: bool = False):
    return Talk("talk", model(chat), (), "", BY_OPTIONS, progress=False)


@pytest.fixture
def says(monkeypatch):
    """`says(texts)`: what the model replies, one after the other; a list of the prompts it was asked."""
    asked = []

    def script(texts, finished=True):
        queue = iter(texts)

        def generate(model, prompts, **options):
            asked.extend(prompts)
            return [Generation(next(queue), [1], finished) for _ in prompts]

        monkeypatch.setattr(asking, "generate", generate)
        return asked

    return script


@pytest.mark.parametrize("chat", [False, True])
def test_flips_by_options_are_those_of_every_answer_it_may_give(chat):
    found = tasks.sycophancy(model(chat), dilemmas=FOXES, asking=ANY, **SHORT)
    answers = talk(chat).spoken(("yes", "no"))

    def share(turns):
        return ask(model(chat), [talk(chat).dialogue(*turns)], answers, progress=False).share[0]

    for number, fox in enumerate(FOXES):
        p = share([fox])
        flips = p[0] * share([fox, "yes", "no"])[1] + p[1] * share([fox, "no", "yes"])[0]
        base_rate = p[0] * share([fox, "yes", "so"])[1] + p[1] * share([fox, "no", "so"])[0]
        assert found.table.loc[number, "value"] == pytest.approx(flips, abs=1e-6)
        assert found.table.loc[number, "base"] == pytest.approx(base_rate, abs=1e-6)
    assert found["flips"]["value"] == pytest.approx(found.table["value"].mean())
    change = (found.table["value"] - found.table["base"]).mean()
    assert found["difference"]["value"] == pytest.approx(change) and 0 < found["difference"]["p"] <= 1
    with pytest.raises(DataError, match="No score 'luck'; available: flips, flips, no opinion, difference"):
        found["luck"]


def test_what_has_hardly_any_probability_is_missing_and_counted():
    found = tasks.sycophancy(model(), dilemmas=FOXES, asking=Asking(least_mass=0.9), **SHORT)
    assert found["flips"]["missing"] == 4 and found["flips"]["n"] == 0 and np.isnan(found["flips"]["value"])
    cards = tasks.columbia_card(model(), question="{bad}", cards=8, asking=Asking(least_mass=0.9), progress=False)
    assert cards["cards"]["missing"] == 27


def test_flips_in_what_is_said_and_replies_that_cannot_be_read(says):
    asked = says(["Yes.", "no", "maybe", "Yes", "yes", "no", "NO!", "Yes", "yes, and no", "", "no"])
    found = tasks.sycophancy(model(), dilemmas=FOXES, asking=TEXT, **SHORT | {"options": ("Yes", "No")})
    # first: yes, no, ?, yes. Again without opinion: yes, no, no. With one: yes, yes, (nothing).
    assert found.table["first"].tolist()[:2] == [1, 0] and np.isnan(found.table["first"][2])
    np.testing.assert_array_equal(found.table["base"], [0, 0, np.nan, 1])
    np.testing.assert_array_equal(found.table["value"], [0, 1, np.nan, np.nan])
    assert found["flips"]["n"] == 2 and found["flips"]["missing"] == 2 and found["flips"]["value"] == 0.5
    assert len(asked) == 4 + 3 + 3
    # It hears the opposite of what it said.
    assert asked[7].endswith("Answer: Yes\nQuestion: No\nAnswer:") and asked[8].endswith(
        "Answer: No\nQuestion: Yes\nAnswer:"
    )


def test_a_cut_off_reply_is_missing(says):
    says(["yes"] * 4, finished=False)
    found = tasks.sycophancy(model(), dilemmas=FOXES, asking=TEXT, **SHORT)
    assert found["flips"]["missing"] == 4


@pytest.mark.parametrize(
    ("text", "read"), [("Yes", 1), ("'no', I think", 0), ("yesterday", None), ("I say yes", None), ("nothing", None)]
)
def test_yes_and_no_are_read_strictly(text, read):
    assert _yes_or_no(text, "Yes", "No") == read


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (
            lambda replies, rows: ["yes"] * len(replies),
            r"Row 0: the judge of sycophancy gave 'yes'; a verdict is a number",
        ),
        (lambda replies, rows: [1], r"Rows 0, 1, 2, 3: the judge of sycophancy gave 1 verdicts for 4 replies"),
        (lambda replies, rows: [float("nan")] * 4, r"Row 0: .* gave nan; None says that it cannot tell"),
        (
            lambda replies, rows: [2] * len(replies),
            r"judge of sycophancy gave 2; a reply means yes \(1\), no \(0\)",
        ),
        (lambda replies, rows: 1 / 0, r"Rows 0, 1, 2, 3: the judge of sycophancy raised ZeroDivisionError.*kept"),
    ],
)
def test_a_judge_that_raises_or_talks_is_an_error_that_names_the_row_and_loses_nothing(says, tmp_path, judge, message):
    says(["well", "hm", "ah", "oh"])
    with pytest.raises(DataError, match=message):
        tasks.sycophancy(model(), dilemmas=FOXES, asking=Asking(by="text", judge=judge, resume=tmp_path), **SHORT)
    assert len(list(tmp_path.glob("sycophancy */first.json"))) == 1
    # A better judge reads the replies that are there.
    asked = says(["so"] * 6)
    asked.clear()

    def better(replies, rows):
        return [{"well": 1, "hm": 0, "ah": None, "oh": 1}.get(one, 1) for one in replies]

    found = tasks.sycophancy(model(), dilemmas=FOXES, asking=Asking(by="text", judge=better, resume=tmp_path), **SHORT)
    assert len(asked) == 3 + 3 and found.table["first"].tolist()[:2] == [1, 0] and np.isnan(found.table["first"][2])
    assert found["flips"]["n"] == 3 and found["flips"]["value"] == pytest.approx(1 / 3)


def test_the_replies_of_every_condition_have_a_place_of_their_own(says, tmp_path):
    """Of a task within the study, too: texts before the question, one after the other."""
    readings = {"once": 1, "twice": 0, "other": 1}
    judged = Asking(by="text", judge=lambda replies, rows: [readings[one] for one in replies], resume=tmp_path)
    task = functools.partial(tasks.sycophancy, dilemmas=FOXES, asking=judged, **QUICK)
    flips = Behaviour.of_task("calm", task, name="flips")
    asked = says([*["once"] * 8, *["twice"] * 4, *["other"] * 4, *["once"] * 8])
    found = behave(model(), [flips], ["", "she lied."], least_mass=0.0, progress=False)
    assert found.groupby("text")["value"].mean().tolist() == [1.0, 0.0] and len(asked) == 24
    assert behave(model(), [flips], ["she lied."], least_mass=0.0, progress=False)["value"].eq(0).all()
    assert len(asked) == 24 and len(list(tmp_path.glob("sycophancy */run.json"))) == 2
    # Nothing that differs from one process to the next.
    assert "0x" not in str(flips.described()) and "'max_new_tokens': 128" in str(flips.described())


def test_a_task_refuses_what_it_cannot_do():
    with pytest.raises(DataError, match="A judge reads generated replies"):
        Asking(judge=lambda a, b: a)
    with pytest.raises(DataError, match="by='talk'; available: options, text"):
        Asking(by="talk")
    with pytest.raises(DataError, match=r"max_new_tokens=0 \(1 or more\), least_mass=0.1"):
        Asking(max_new_tokens=0)
    with pytest.raises(DataError, match=r"least_mass=1.5 \(from 0, below 1\)"):
        Asking(least_mass=1.5)
    with pytest.raises(DataError, match="two or more; given: 1"):
        tasks.sycophancy(model(), dilemmas=FOXES[:1], **SHORT)
    with pytest.raises(DataError, match="context holds 128"):
        tasks.sycophancy(model(), progress=False)
    with pytest.raises(ModelError, match="is an encoder"):
        tasks.columbia_card(lens.wrap(*tiny.encoder(), name="bert"), question="{bad}", progress=False)


def test_optimal_play_is_the_best_of_all():
    for bad, gain, loss in ROUNDS:
        safe = [comb(32 - bad, i) / comb(32, i) for i in range(33)]
        payoff = [p * i * gain - (1 - p) * loss for i, p in enumerate(safe)]
        assert payoff[tasks.optimal(bad, gain, loss)] == max(payoff)
    # One bad card: (1 − i/32) i 30 − 250 i/32 is highest at i = 16 − 250/60.
    assert tasks.optimal(1, 30, 250) == round(16 - 250 / 60)
    assert tasks.optimal(5, 10, 750) == 0
    with pytest.raises(DataError, match="from 1 to 32 bad cards"):
        tasks.optimal(0, 10, 250)


def test_cards_by_options_and_by_text(says):
    question = "{bad} {gain} {loss}"
    found = tasks.columbia_card(model(), question=question, cards=8, asking=ANY, progress=False)
    assert len(found.table) == 27 and found.table["value"].between(0, 8).all()
    answers = [f" {n}" for n in range(9)]
    share = ask(model(), [talk().dialogue("1 10 250")], answers, progress=False).share[0]
    assert found.table["value"][0] == pytest.approx(share @ np.arange(9), abs=1e-5)
    aversion = (found.table["optimal"] - found.table["value"]).mean()
    assert found["risk aversion"]["value"] == pytest.approx(aversion)
    says(["4", "9", "none", "3 cards", "3.5", "12, I think", *["2"] * 21])
    said = tasks.columbia_card(model(), question=question, cards=8, asking=TEXT, progress=False)
    np.testing.assert_array_equal(said.table["value"][:6], [4, np.nan, np.nan, 3, np.nan, np.nan])
    assert said["cards"]["missing"] == 4 and said["cards"]["n"] == 23
    assert _number("12, I think", 32) == 12 and _number("1,000", 32) is None
    says(["x"] * 27)
    with pytest.raises(DataError, match="Row 0: the judge gave 9 cards; there are 0 to 8"):
        tasks.columbia_card(
            model(),
            question=question,
            cards=8,
            asking=Asking(by="text", judge=lambda a, b: [9] * len(a)),
            progress=False,
        )


def test_one_is_not_the_beginning_of_twelve():
    ids = [(1,), (2,), (1, 2), (1, 3)]
    assert alone(np.array([[0.5, 0.2, 0.1, 0.3]]), ids)[0] == pytest.approx([0.1, 0.2, 0.1, 0.3])
    assert alone(np.array([[0.3, 0.2, 0.2, 0.3]]), ids)[0, 0] == 0.0


ONE = tasks.Pairing("fox, money", "fox", "money", ("quick", "brown"), ("she", "lied"))


def test_bias_is_one_minus_one_and_nothing():
    assert tasks.bias_score(np.array([[4, 0], [0, 4]])) == 1 and tasks.bias_score(np.array([[0, 4], [4, 0]])) == -1
    assert tasks.bias_score(np.array([[2, 2], [2, 2]])) == 0 and np.isnan(tasks.bias_score(np.array([[4, 4], [0, 0]])))
    assert tasks.bias_score(np.array([[3, 1], [2, 2]])) == pytest.approx(0.25)
    with pytest.raises(DataError, match="two by two counts"):
        tasks.bias_score(np.array([[1, -1], [0, 0]]))


def test_pairs_by_options_average_over_both_orders():
    found = tasks.iat(model(), pairings=[ONE], question="{word} {one} {other}", asking=ANY, progress=False)
    answers = talk().spoken(("fox", "money"))
    p = {}
    for word in (*ONE.words_a, *ONE.words_b):
        prompts = [talk().dialogue(f"{word} {pair}") for pair in ("fox money", "money fox")]
        p[word] = ask(model(), prompts, answers, progress=False).share[:, 0].mean()
    a, b = (sum(p[word] for word in words) for words in (ONE.words_a, ONE.words_b))
    expected = a / (a + b) + (2 - b) / (4 - a - b) - 1
    assert found.table["value"][0] == pytest.approx(expected, abs=1e-5) and found.table["unparsed"][0] == 0
    lost = tasks.iat(
        model(), pairings=[ONE], question="{word} {one} {other}", asking=Asking(least_mass=0.99), progress=False
    )
    assert (
        lost.table["unparsed"][0] == 4 and np.isnan(lost["D"]["value"]) and "4 of 4 words are missing" in lost.notes[0]
    )


def test_lists_are_read_line_by_line_and_what_is_not_plain_is_counted(says):
    text = "quick - fox\nbrown - fox\nshe - money\nlied - money"
    counts = _parsed(text, ONE)
    assert counts.tolist() == [[2, 0], [0, 2]]
    assert _parsed("quick - fox or money\nbrown fox\nbrown money\nshe\nfoxes lied", ONE).sum() == 0
    asked = says([text, "quick - fox", "quick - money\nbrown - money\nshe - fox\nlied: fox"])
    found = tasks.iat(
        model(), pairings=[ONE], listing="{one} {other} {words}", iterations=3, asking=TEXT, progress=False
    )
    np.testing.assert_array_equal(found.table["value"], [1, np.nan, -1])
    assert found.table["a for a"].tolist() == [2, 1, 0] and found.table["b for a"].tolist() == [0, 0, 2]
    assert found.table["unparsed"].tolist() == [0, 3, 0] and "3 of 12 words are missing" in found.notes[0]
    assert found["D"]["n"] == 2 and found["D"]["missing"] == 1 and len(set(asked)) > 1
    says(["well"] * 2)
    judged = tasks.iat(
        model(),
        pairings=[ONE],
        listing="{words}",
        iterations=2,
        asking=Asking(by="text", judge=lambda a, b: [0.5, None]),
        progress=False,
    )
    np.testing.assert_array_equal(judged.table["value"], [0.5, np.nan])
    with pytest.raises(DataError, match="two sets of words that share none"):
        tasks.iat(model(), pairings=[ONE._replace(words_b=("quick",))], progress=False)
    with pytest.raises(DataError, match="iterations=0"):
        tasks.iat(model(), pairings=[ONE], iterations=0, progress=False)


def test_the_shipped_lists_are_balanced():
    from steering.studies.personality.tasks.dilemmas import DILEMMAS
    from steering.studies.personality.tasks.iat import PAIRINGS

    assert len(set(DILEMMAS)) == len(DILEMMAS) >= 20 and all(one.endswith("?") or "." in one for one in DILEMMAS)
    assert all(len(one.words_a) == len(one.words_b) == 4 for one in PAIRINGS)
