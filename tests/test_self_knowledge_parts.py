"""The measures of self-knowledge one by one, on numbers whose answer is known; and the command."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from command_line import run
from scipy import special

import lens
from lens import DataError
from steering.studies import self_knowledge
from steering.studies.ask import Answers
from steering.studies.self_knowledge import calibration as calibration_
from steering.studies.self_knowledge import tracking
from steering.studies.self_knowledge.calibration import _half, calibrated, curve, drawn
from steering.studies.self_knowledge.revision import again, revised
from steering.studies.self_knowledge.stated import judged_prompt

# The package's function of this name hides the module.
revision_ = sys.modules["steering.studies.self_knowledge.revision"]


def test_an_exact_confidence_has_the_error_that_chance_gives_and_never_none():
    """N = 1,000 and p ~ U(0, 1): error .031 (.020 to .049), Brier 1/6."""
    errors, nulls, squares = [], [], []
    for seed in range(20):
        p = np.random.default_rng(seed + 200).random(1000)
        found = calibration_(p, drawn(p, 1, seed + 100), seed=seed)
        errors.append(found["ece"])
        nulls.append(found["ece_null"])
        squares.append(found["brier"])
        assert found["ece_null_high"] > found["ece_null"]
        assert found["rms"] >= found["ece"]
    assert np.mean(squares) == pytest.approx(1 / 6, abs=0.005)
    assert np.mean(errors) == pytest.approx(0.031, abs=0.003) and np.mean(nulls) == pytest.approx(0.031, abs=0.002)


def test_a_confidence_that_is_off_is_far_above_it():
    p = np.random.default_rng(0).random(1000)
    found = calibration_(np.clip(p + 0.2, 0, 1), drawn(p, 1, 0), seed=0)
    assert found["ece"] > 2 * found["ece_null_high"]
    table = curve(np.clip(p + 0.2, 0, 1), drawn(p, 30, 0))
    assert len(table) == 10 and (table["n"] == 100).all()
    assert (table["stated"] - table["right"]).iloc[:7].mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(("temperature", "offset"), [(0.5, -0.5), (1.0, 0.0), (2.5, 1.0)])
def test_the_temperature_that_was_put_in_comes_out(temperature, offset):
    p = np.random.default_rng(1).uniform(0.02, 0.98, 400)
    stated = special.expit(temperature * special.logit(p) + offset)
    fit = self_knowledge.temperature_fit(stated, p)
    assert fit.temperature == pytest.approx(temperature, abs=1e-3) and fit.offset == pytest.approx(offset, abs=1e-3)
    np.testing.assert_allclose(fit.repaired(stated), p, atol=1e-4)
    noisy = self_knowledge.temperature_fit(stated, drawn(p, 1, 0)[:, 0].astype(float))
    assert noisy.temperature == pytest.approx(temperature, rel=0.3)


def test_where_nothing_goes_with_it_there_is_no_temperature():
    p = np.random.default_rng(2).uniform(0.02, 0.98, 400)
    with pytest.raises(DataError, match=r"Every stated confidence is 0\.5"):
        self_knowledge.temperature_fit(np.full(400, 0.5), p)
    with pytest.raises(DataError, match="does not rise with what is known"):
        self_knowledge.temperature_fit(1 - p, p)


def scored(p, q, r):
    table = pd.DataFrame({"p": p, "q": q, "r": r})
    return self_knowledge.revision(table, np.arange(len(table))).set_index("score")


def test_revision_tells_stubbornness_from_noise_only_by_all_three():
    p = np.random.default_rng(0).uniform(0.2, 0.9, 60)
    stubborn, redrawn, oracle = scored(p, 1.0, 0.0), scored(p, p.mean(), p.mean()), scored(p, 1.0, 1.0)
    assert stubborn["value"][["CL", "CS", "RSS"]].tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert redrawn["value"][["CL", "CS", "RSS"]].tolist() == pytest.approx([p.mean(), p.mean(), 0.5])
    assert oracle["value"]["RSS"] > 1
    a = p.mean()
    assert scored(p, a, 0.0)["value"]["RSS"] == pytest.approx(0, abs=1e-9)
    assert scored(p, 1.0, a)["value"]["RSS"] == pytest.approx(1)
    assert (stubborn["low"] <= stubborn["value"] + 1e-9).all() and (stubborn["value"] <= stubborn["high"] + 1e-9).all()


def test_asked_again_keeps_the_question_and_its_system_prompt():
    assert again("who ?", "me") == "who ? me\nwho ?"
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "who ?"}]
    assert [turn["content"] for turn in again(chat, "me")] == ["s", "who ?", "me", "who ?"]


def test_dcs_rises_only_where_abstention_follows_what_is_not_known():
    rng = np.random.default_rng(0)
    knows = rng.random(400) < 0.5
    right = np.where(knows, 0.9, 0.1)

    def share(unsure):
        return np.stack([right * (1 - unsure), (1 - right) * (1 - unsure), unsure], axis=1)

    groups = np.arange(400)
    never = self_knowledge.dcs(share(np.zeros(400)), groups).set_index("score")["value"]
    tracking_ = self_knowledge.dcs(share(np.where(knows, 0.0, 0.9)), groups).set_index("score")["value"]
    at_random = self_knowledge.dcs(share(rng.permutation(np.where(knows, 0.0, 0.9))), groups).set_index("score")
    assert tracking_["DCS"] > never["DCS"] + 0.2 > never["DCS"] > at_random["value"]["DCS"] - 0.2
    assert never["DCS"] == pytest.approx((2 * right - 1).mean()) and never["abstention"] == 0
    unsure = np.where(knows, 0.0, 0.9)
    assert tracking_["DCS"] == pytest.approx(((2 * right - 1) * (1 - unsure) ** 2).mean())
    assert tracking_["abstention"] == pytest.approx(at_random["value"]["abstention"])
    assert never["Brier"] == pytest.approx(((1 - right) ** 2).mean())
    with pytest.raises(DataError, match="three columns or more; given: 2"):
        self_knowledge.dcs(share(np.zeros(400))[:, :2], groups)
    with pytest.raises(DataError, match="gain ≥ loss"):
        self_knowledge.dcs(share(np.zeros(400)), groups, gain=0.5)


def test_the_three_rates_of_abstention():
    frame = pd.DataFrame(
        {
            "who": ["king"] * 8,
            "when": ["before"] * 4 + ["after"] * 4,
            "abstain": [0, 0, 0, 0, 1, 1, 1, 0],
            "answered": [1, 1, 1, 0, 0, 1, 0, 1],
            "right": [1, 1, 0, 0, 0, 0, 0, 1],
        }
    )
    table = self_knowledge.abstention_rates(frame, ["who", "when"]).set_index("when")
    assert table.loc["before", ["abstain", "answered", "right", "n_answered"]].tolist() == [0.0, 0.75, 0.5, 4]
    assert table.loc["after", ["abstain", "answered", "right", "n_answered"]].tolist() == [0.75, 0.5, 1.0, 1]
    assert table.loc["before", "abstain_high"] > 0.3
    assert len(self_knowledge.abstention_rates(frame)) == 1
    with pytest.raises(DataError, match="No column 'abstain'"):
        self_knowledge.abstention_rates(frame.drop(columns="abstain"))
    with pytest.raises(DataError, match="'right' holds something else"):
        self_knowledge.abstention_rates(frame.assign(right=2))


def test_the_probe_of_a_boundary_gets_better_away_from_it():
    rng = np.random.default_rng(0)
    distance = np.repeat(np.arange(-10, 11), 30).astype(float)
    states = rng.standard_normal((len(distance), 8))
    states[:, 0] += 0.4 * distance
    groups = np.tile(np.arange(30), 21)
    table = self_knowledge.boundary_probe(states, distance, groups).set_index("distance")
    assert 0.0 not in table.index and (table["n"] == 60).all()
    assert table.loc[1.0, "accuracy"] < 0.8 < 0.97 < table.loc[10.0, "accuracy"]
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()
    none = self_knowledge.boundary_probe(rng.standard_normal((len(distance), 8)), distance, groups)
    assert 0.4 < none["accuracy"].mean() < 0.6
    with pytest.raises(DataError, match="one side of the boundary"):
        self_knowledge.boundary_probe(states, np.abs(distance) + 1, groups)


def test_permutations_move_whole_groups_onto_groups_of_their_size():
    groups = np.array(["a", "a", "b", "b", "c", "d", "d", "d"])
    orders = tracking.shuffles(groups, 200, 0)
    for order in orders:
        assert sorted(order) == list(range(8)) and order[4] == 4 and order[5:].tolist() == [5, 6, 7]
        assert order[:4].tolist() in ([0, 1, 2, 3], [2, 3, 0, 1])
    assert 60 < sum(order[0] == 2 for order in orders) < 140


def test_the_permutation_p_of_a_score_that_knows_nothing_is_uniform():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 3)
    found = []
    for seed in range(200):
        known = np.repeat(rng.random(20), 3)
        score = np.repeat(rng.standard_normal(20), 3) + 0.3 * rng.standard_normal(60)
        found.append(tracking.tracked(score, known, groups, draws=199, seed=seed)["p"])
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    assert 0.4 < np.mean(found) < 0.6


def test_of_two_scores_the_better_is_told_and_equal_ones_are_not():
    rng = np.random.default_rng(0)
    known, groups = rng.random(120), np.arange(120)
    good, bad = known + 0.2 * rng.standard_normal(120), rng.standard_normal(120)
    found = tracking.swapped(good, bad, known, groups)
    assert found["p"] < 0.01 and found["low"] > 0.2 and found["low"] < found["difference"] < found["high"]
    assert tracking.swapped(bad, good, known, groups)["p"] > 0.9
    # Ranks, not units, are compared.
    assert tracking.swapped(1000 * good, bad, known, groups) == found
    twins = [
        tracking.swapped(*(known + rng.standard_normal((2, 120))), known, groups, draws=199, seed=k)["p"]
        for k in range(100)
    ]
    assert np.mean(np.array(twins) <= 0.05) <= 0.05 + 2 * (0.05 * 0.95 / 100) ** 0.5


def test_a_proposed_answer_is_judged_in_the_form_of_the_question():
    assert judged_prompt("who ?", "me").endswith("Proposed answer: me\nIs the proposed answer True or False? Verdict:")
    shot = judged_prompt("who ?", "me", [("what ?", "that", False)])
    assert shot.startswith("Question: what ?\nProposed answer: that\n") and "Verdict: False\n\nQuestion: who ?" in shot
    chat = judged_prompt(
        [{"role": "user", "content": "who ?"}], "me", [([{"role": "user", "content": "x"}], "y", True)]
    )
    assert [turn["role"] for turn in chat] == ["user", "assistant", "user"] and chat[1]["content"] == "True"


def test_a_number_that_is_said_is_its_expected_value(gpt2):
    gpt2 = lens.wrap(gpt2.hf, gpt2.tokenizer, name="gpt2")
    prompts = ["the fox", "she lied"]
    value, found = self_knowledge.verbalised(gpt2, prompts, progress=False)
    assert found.log_p.shape == (2, 11) and ((value > 0) & (value < 1)).all()
    np.testing.assert_allclose(value, found.share @ np.linspace(0, 1, 11))


def rows(path: Path, count: int = 40) -> Path:
    rng = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(count)]
    answers = [rng.permutation([" yes", " no", " maybe"]).tolist() for _ in texts]
    table = pd.DataFrame({"question": texts, "right": [few[0] for few in answers]})
    table["wrong"] = ["|".join(few[1:]) for few in answers]
    table.assign(sure=[f"{text} that was" for text in texts], who=range(count)).to_csv(path, index=False)
    return path


def test_on_the_command_line(tmp_path):
    data, out = rows(tmp_path / "questions.csv"), tmp_path / "report"
    words = ["-m", tiny.saved("llama"), "-d", data, "--text", "question", "--group", "who"]
    printed = run("study", "self-knowledge", *words, "--out", out, "--resume", tmp_path / "kept")
    assert "Shown: nothing." in printed and "P(IK)" in printed
    assert {"index.html", "result.json", "claims.csv", "layers.csv"} <= {path.name for path in out.iterdir()}
    assert (tmp_path / "kept" / "read.json").is_file()
    assert "self-knowledge" in run("study", "--help")


def test_a_mistake_in_the_table_is_told_before_a_model_is_loaded(tmp_path):
    data = rows(tmp_path / "questions.csv")
    pd.read_csv(data).drop(columns="right").to_csv(data, index=False)
    words = ["study", "self-knowledge", "-m", tmp_path / "no-model", "-d", data, "--text", "question"]
    with pytest.raises(DataError, match="need a column 'right'; available: question"):
        run(*words)
    with pytest.raises(DataError, match="Give --data with questions"):
        run("study", "self-knowledge", "-m", tmp_path / "no-model")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; give a folder"):
        run(*words, "--out", tmp_path / "file")


def test_a_temperature_is_mended_on_other_groups_than_it_was_fitted_on():
    """Halves that state with different temperatures: each is mended by that of the other, and stays wrong."""
    known, groups = np.random.default_rng(3).uniform(0.05, 0.95, 400), np.arange(400).astype(str)
    first = _half(groups, 0)
    stated = special.expit(np.where(first, 0.4, 2.5) * special.logit(known))
    tables, notes = calibrated(stated, known, known, groups, seed=0)
    assert tables["temperature"]["temperature"].tolist()[1:] == pytest.approx([0.4, 2.5], rel=1e-3) and not notes
    errors = tables["calibration"].set_index("confidence")["ece"]
    assert errors["stated, mended"] > 0.1 > errors["P(IK) probe"]
    assert set(tables["curve"]["confidence"]) == {"P(IK) probe", "stated", "stated, mended"}


def test_every_first_answer_is_forced_and_weighted_by_how_likely_it_was(llama, monkeypatch):
    asked = []

    def ask(model, prompts, options, **more):
        asked.extend(prompts)
        # Right again: .9 after the right answer, .2 and .6 after the two wrong ones.
        p = np.tile([0.9, 0.2, 0.6], len(prompts) // 3)
        return Answers(np.log(np.stack([p, (1 - p) / 2, (1 - p) / 2], axis=1)), "next token")

    monkeypatch.setattr(revision_, "ask", ask)
    rows = lens.Examples(pd.DataFrame({"prompt": ["who ?", "what ?"], "right": ["a", "b"], "wrong": ["c|d", "e|f"]}))
    first = np.array([[0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])
    table = revised(llama, self_knowledge.Questions.of(rows), first)
    assert asked == [f"{q} {a}\n{q}" for q, few in (("who ?", "acd"), ("what ?", "bef")) for a in few]
    np.testing.assert_allclose(table["q"], [0.9, 0.9])
    np.testing.assert_allclose(table["r"], [(0.4 * 0.2 + 0.1 * 0.6) / 0.5, (0.2 * 0.2 + 0.6 * 0.6) / 0.8])
