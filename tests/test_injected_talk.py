"""Injected thoughts, the tests that need a chat: thought beside text, prefill, intention; and random chat models."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import transformers
import typer
from typer.testing import CliRunner

import lens
import steering
from lens.errors import DataError
from probes.direction import Direction
from steering.commands.study.injected_thoughts import injected_thoughts as command
from steering.studies import injected_thoughts as study
from steering.studies.injected_thoughts import talk
from steering.studies.injected_thoughts.asking import Asker
from steering.studies.result import judged

WORDS = ("fox", "money", "quick", "brown", "anchor", "apple", "banjo", "butter")


def chatter(family, seed=0):
    """A random model with a chat template and room for the study's own questions."""
    torch.manual_seed(seed)
    tokenizer = tiny.tokenizer(bos="<s>" if family in tiny.WITH_BOS else None, chat=True)
    config = tiny.config(family, len(tokenizer))
    config.max_position_embeddings = 1024
    hf = transformers.AutoModelForCausalLM.from_config(config).eval()
    hf.generation_config.eos_token_id = None
    return lens.wrap(hf, tokenizer, name=family)


def brief(model):
    """The published questions, cut short: random models understand no more of the long ones."""
    asked = study.questions.published(model)
    short = {
        kind: [
            [{"role": "user", "content": f"{asked.start} {prompt[-1]['content'][-20:]}"}] for prompt in asked.of(kind)
        ]
        for kind in ("trial", "which", "unrelated")
    }
    return dataclasses.replace(asked, **short, max_new_tokens=4)


SMALL = {"concepts": WORDS, "baseline": ["river", "was"], "sites": ["resid_post.1"], "strengths": (2.0,), "trials": 8}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_random_chat_models_run_through_and_show_nothing(family, monkeypatch):
    monkeypatch.setattr(talk, "NEW_TOKENS", 4)
    if family != "llama":  # one is asked often enough to know how likely its replies are
        monkeypatch.setattr(study.asking, "REFERENCE_TEXTS", 1)
    model = chatter(family)
    found = study.run(model, **SMALL, asked=brief(model), random_draws=1, progress=False)
    assert len(found.claims) == 6 and not found.claims["shown"].any()
    assert {"thought_vs_text", "prefill", "intent"} <= set(found.tables)
    assert found.claims.set_index("claim")["p"].isna().to_dict()[talk.INTENDS]
    assert not any("were not run" in note for note in found.notes)
    assert len(found.tables["trials"]) == 8 * 2 + 4 * 4


def test_the_published_questions_are_asked_of_chat_models_alone_and_start_at_the_trial():
    model = chatter("llama")
    asked = study.questions.published(model)
    dataclasses.replace(asked, max_new_tokens=8).check(model)
    assert len(asked.unrelated) == 20 and all(prompt[0]["role"] == "user" for prompt in asked.trial)
    for kind in ("trial", "which", "unrelated"):
        for prompt in asked.of(kind):
            assert prompt[-1]["content"].startswith(asked.start)
    with pytest.raises(DataError, match="context"):
        study.run(lens.wrap(*tiny.hugging_face("llama", chat=True), name="small"), progress=False)


@pytest.fixture
def asker():
    model = chatter("llama")
    generator = torch.Generator().manual_seed(0)
    concepts = {
        word: {lens.Site("resid_post", 1): Direction.from_vector(torch.randn(64, generator=generator), "resid_post.1")}
        for word in WORDS
    }
    return Asker(model, brief(model), concepts, None, 0.0, 0, progress=False)


def replies(rule):
    """In place of the model: `rule(row of the plan, prompt)`."""

    def said(asker, plan, prompts, parts, name):
        return [rule(row, prompt) for row, prompt in zip(plan.to_dict("records"), prompts, strict=True)]

    return said


def told(asker, monkeypatch, thought, repeats, disowns):
    def rule(row, prompt):
        asked = prompt[-1]["content"]
        if "accident" in asked:
            return "It was an accident." if disowns(row["condition"]) else "I meant it."
        if "Repeat" in asked:
            return row["sentence"].upper() if repeats else "no"
        return f"I think of {row['concept']}." if thought(row["arm"]) else "Nothing."

    monkeypatch.setattr(talk, "_replies", replies(rule))
    text, prefill = (
        talk.thought_vs_text(asker, "resid_post.1", 2.0, 3),
        talk.prefill_disavowal(asker, "resid_post.1", 2.0),
    )
    found = judged(talk.claims(text, prefill, talk.intentional_control(asker), "resid_post.1", seed=0))
    return text, prefill, found.set_index("claim")


def test_a_model_that_has_thoughts_beside_text_is_shown_to(asker, monkeypatch):
    text, prefill, found = told(asker, monkeypatch, "injected".__eq__, True, lambda one: one != "own before")
    assert found.loc[talk.BESIDE_TEXT, "shown"] and found.loc[talk.DISAVOWS, "shown"]
    assert found.loc[talk.DISAVOWS, "value"] == 1 and not found.loc[talk.INTENDS, "shown"]
    assert text["arm"].value_counts().to_dict() == {"random": 24, "none": 8, "injected": 8}
    assert prefill.groupby("condition")["disavows"].mean().to_dict() == {
        "none": 1, "own before": 0, "other before": 1, "own after": 1,
    }  # fmt: skip
    assert (prefill[prefill["condition"] == "other before"]["concept"] != prefill["word"].unique()).all()


@pytest.mark.parametrize(
    ("thought", "repeats"),
    [(lambda arm: arm != "none", True), (lambda arm: arm == "none", True), (lambda arm: False, True)],
)
def test_random_directions_that_do_the_same_take_it_back(asker, monkeypatch, thought, repeats):
    _, _, found = told(asker, monkeypatch, thought, repeats, lambda one: True)
    assert not found["shown"].any()


def test_a_thought_that_drowns_the_sentence_is_no_thought_beside_it(asker, monkeypatch):
    def rule(row, prompt):
        if "Repeat" in prompt[-1]["content"]:
            return row["sentence"] if row["arm"] == "none" else row["concept"]
        return row["concept"] if row.get("arm") == "injected" else ""

    monkeypatch.setattr(talk, "_replies", replies(rule))
    text = talk.thought_vs_text(asker, "resid_post.1", 2.0, 3)
    blank = talk.prefill_disavowal(asker, "resid_post.1", 2.0).assign(disavows=0.0)
    found = judged(talk.claims(text, blank, talk.intentional_control(asker), "resid_post.1", seed=0)).set_index("claim")
    assert found.loc[talk.BESIDE_TEXT, "value"] == 1 and not found.loc[talk.BESIDE_TEXT, "shown"]


def test_thoughts_are_put_where_the_test_says(asker, monkeypatch):
    seen = {}

    def inject(self, plan, places):
        seen[len(seen)] = list(zip(plan.to_dict("records"), places, strict=True))
        return []

    monkeypatch.setattr(Asker, "inject", inject)
    silent = lens.generation.Generation("", [], finished=True)
    monkeypatch.setattr(talk, "say", lambda model, prompts, *_: [silent] * len(prompts))
    talk.prefill_disavowal(asker, "resid_post.1", 2.0)
    rows = {row["condition"]: place for row, place in seen[0][:4]}
    assert rows["none"] is None and rows["own before"] == rows["other before"]
    before, after = (int(rows[name][1].removeprefix("prompt[").split(":")[0]) for name in ("own before", "own after"))
    assert 0 < before < after
    talk.thought_vs_text(asker, "resid_post.1", 2.0, 1)
    assert all((place is None) == (row["arm"] == "none") for row, place in seen[1])


def test_intention_is_the_cosine_with_the_own_word_less_that_with_the_others(asker):
    found = talk.intentional_control(asker)
    assert len(found) == 2 * len(WORDS) and set(found["condition"]) == {"think", "do not think"}
    sentence = talk.SENTENCES[1]  # of the second word
    prompt = [
        {"role": "user", "content": f'Write this sentence: "{sentence}" Do think about money while you write it.'}
    ]
    table = lens.Examples(pd.DataFrame({"prompt": [prompt], "response": [sentence]}))
    h = lens.collect(asker.model, table, sites=["resid_post.1"], span="response", pool="none", progress=False)
    vectors = torch.stack([own[lens.Site("resid_post", 1)].vector for own in asker.concepts.values()])
    near = torch.nn.functional.cosine_similarity(h["resid_post.1"][0][:, None], vectors[None], dim=-1).mean(dim=0)
    value = float(near[1] - (near.sum() - near[1]) / (len(WORDS) - 1))
    row = found[(found["concept"] == "money") & (found["condition"] == "think")].iloc[0]
    assert row["cosine"] == pytest.approx(value, abs=1e-5)


def test_talk_injects_for_real(asker):
    """A thought along the unembedding of a word, at the sentence, is not there for rows without one."""
    plan = pd.DataFrame(
        {"concept": ["fox", "fox"], "site": ["", "resid_post.1"], "strength": [40.0, 40.0], "draw": [-1, -1]}
    )
    prompt = [{"role": "user", "content": f'Here is a sentence: "{talk.SENTENCES[0]}" Which?'}]
    calm, moved = talk._replies(asker, plan, [prompt] * 2, [talk.SENTENCES[0]] * 2, "test")
    assert calm == asker.model.generate(prompt, max_new_tokens=talk.NEW_TOKENS) != moved


def test_words_that_the_tokenizer_cannot_spell_are_left_out_and_said(monkeypatch):
    model = lens.load("organism")
    asked = study.Questions(
        trial=[[{"role": "user", "content": f"do you think of {one} ?"}] for one in ("a bird", "a fish")],
        which=[[{"role": "user", "content": "what do you think of ?"}]],
        unrelated=[[{"role": "user", "content": "is it no ?"}]],
        by="options",
        tell=[{"role": "user", "content": "tell me about {word}"}],
    )
    words = ["otter", "moth", "lamp", "xylophone", "milk", "lemon", "pearl", "otter", "poison", "garden"]
    found = study.run(
        model, concepts=words, baseline=["lake", "coat", "zeppelin"], asked=asked, trials=9, sites=["resid_post.1"],
        strengths=(1.0,), random_draws=1, progress=False,
    )  # fmt: skip
    assert any("cannot spell them: xylophone." in note for note in found.notes)
    assert found.settings["concepts"] == [*words[:3], *words[4:7], *words[8:]] and not found.claims["shown"].any()


def test_the_command_writes_a_page(tmp_path):
    app = typer.Typer()
    app.command()(command)
    small = ["--site", "resid_post.1", "--strengths", "1,3", "--trials", "64", "--random", "4"]
    run = CliRunner().invoke(app, ["-m", "organism:thought-detector", *small, "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "Shown: Replies claim to notice" in " ".join(run.output.split())
    assert (tmp_path / "out" / "index.html").exists() and (tmp_path / "out" / "cells.csv").exists()
    with pytest.raises(DataError, match="--strengths takes numbers"):
        CliRunner().invoke(app, ["-m", "organism:thought-detector", "--strengths", "much"], catch_exceptions=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        CliRunner().invoke(app, ["--out", str(tmp_path / "file")], catch_exceptions=False)


def test_steering_and_numpy_are_left_as_they_were(asker):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    with steering.apply(asker.model):
        asker.notices(study.trials.sham(study.trials.design(WORDS, 8, 3, deterministic=True, seed=0)), "x")
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])
