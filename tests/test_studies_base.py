"""What every study stands on: results that are saved and told, claims judged together, pieces that resume, asking."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

import steering
from lens import ArtifactError, DataError, ModelError
from probes import Direction
from steering import studies
from steering.studies.ask import ask
from steering.studies.pieces import Pieces
from steering.studies.result import Claim, Result, judged
from steering.studies.tables import frame_of, json_of


def claim(name, p, *, value=0.7, low=0.6, high=0.8, gate=True):
    return Claim(name, value, low, high, 0.5, p, 40, 20, f"{name} holds", gate)


def test_claims_are_adjusted_together_and_shown_only_where_interval_and_gate_agree():
    table = judged(
        [
            claim("clear", 0.001),
            claim("alone", 0.03),
            claim("covers", 0.001, low=0.4),
            claim("gated", 0.001, gate=False),
            claim("below", 0.001, value=0.3, low=0.2, high=0.4),
            claim("untested", float("nan")),
        ]
    ).set_index("claim")
    assert table["shown"].to_dict() == {
        "clear": True,
        "alone": True,  # the last of five: times 1
        "covers": False,
        "gated": False,
        "below": True,
        "untested": False,
    }
    assert table.loc["clear", "p_holm"] == pytest.approx(0.005) and np.isnan(table.loc["untested", "p_holm"])
    two = judged([claim("one", 0.03), claim("two", 0.04)])
    assert not two["shown"].any() and two["p_holm"].tolist() == pytest.approx([0.06, 0.06])


def test_the_chance_that_any_false_claim_is_shown_is_kept():
    rng = np.random.default_rng(0)
    runs = [judged([claim(str(k), p) for k, p in enumerate(rng.random(4))])["shown"].any() for _ in range(1000)]
    assert 0.02 < np.mean(runs) < 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def tables():
    return pd.DataFrame(
        {
            "site": ["resid_post.0", None],
            "value": [0.1 + 0.2, float("nan")],
            "n": [3, 4],
            "shown": [True, False],
            "many": [[1, 2], []],
        }
    )


def test_tables_come_back_exactly():
    again = frame_of(json.loads(json.dumps(json_of(tables()))))
    pd.testing.assert_frame_equal(again, tables())
    numbers = pd.DataFrame({"x": np.random.default_rng(0).standard_normal(50).astype(np.float32).astype(float)})
    assert frame_of(json.loads(json.dumps(json_of(numbers))))["x"].tolist() == numbers["x"].tolist()
    empty = pd.DataFrame({"x": np.array([], dtype=float)})
    pd.testing.assert_frame_equal(frame_of(json.loads(json.dumps(json_of(empty)))), empty, check_index_type=False)


def made():
    settings = {"model": "toy", "seed": 0, "versions": {"torch": "2"}}
    return Result("self_knowledge", judged([claim("it <knows>", 0.01)]), {"rows": tables()}, settings, ("a <note>",))


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    result = made()
    result.save(tmp_path / "run")
    again = Result.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.claims, result.claims)
    pd.testing.assert_frame_equal(again.tables["rows"], result.tables["rows"])
    assert again.settings == result.settings and again.notes == result.notes
    assert again.shows("it <knows>") and "it <knows>" in str(again) and "a <note>" in str(again)
    assert pd.read_csv(tmp_path / "run" / "claims.csv")["claim"].tolist() == ["it <knows>"]
    with pytest.raises(ArtifactError, match="No claim 'other'; available: it <knows>"):
        again.row("other")


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"holds no result\.json"):
        Result.load(tmp_path)
    (tmp_path / "result.json").write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="is no saved result"):
        Result.load(tmp_path)
    (tmp_path / "result.json").write_text('{"format": 99}')
    with pytest.raises(ArtifactError, match="format 99; this version reads format 1"):
        Result.load(tmp_path)


def test_the_page_escapes_what_comes_from_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(Result, "figures", lambda self: [])
    page = made().report(tmp_path / "page.html").read_text()
    assert "it &lt;knows&gt;" in page and "a &lt;note&gt;" in page and "<knows>" not in page
    assert studies.about("self_knowledge") in page.replace("&#39;", "'")


def test_pieces_are_made_once_and_read_back_the_same(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return tables()

    first = Pieces(tmp_path, {"seed": 0}).table("rows", make)
    second = Pieces(tmp_path, {"seed": 0}).table("rows", make)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, tables())
    kept = tmp_path / "rows.json"
    kept.write_text(kept.read_text().replace("0.3000", "0.4000"))
    pd.testing.assert_frame_equal(Pieces(tmp_path, {"seed": 0}).table("rows", make), tables())
    assert len(calls) == 2
    Pieces(None, {}).table("rows", make)
    assert len(calls) == 3


def test_a_folder_of_another_run_is_refused_and_what_differs_is_named(tmp_path):
    Pieces(tmp_path, {"seed": 0, "model": "a"})
    with pytest.raises(ArtifactError, match="run of other 'seed' \\(0, now 1\\)"):
        Pieces(tmp_path, {"seed": 1, "model": "a"})
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"run\.json is damaged"):
        Pieces(tmp_path, {"seed": 0, "model": "a"})


PROMPTS = ["the quick brown", "she", "the money that she lied about was"]


def alone(model, prompt, option):
    """log P of an option after a prompt, one by one, by Hugging Face alone."""
    start = model.tokenizer(prompt, return_tensors="pt").input_ids
    whole = model.tokenizer(prompt + option, return_tensors="pt").input_ids
    with torch.no_grad():
        log_p = torch.log_softmax(model.hf(whole).logits[0].double(), dim=-1)
    return sum(float(log_p[k - 1, whole[0, k]]) for k in range(start.shape[1], whole.shape[1]))


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_answers_are_as_probable_as_one_by_one(models, family):
    model = models(family)
    single = ask(model, PROMPTS, [" fox", " money"], progress=False)
    assert single.by == "next token" and not single.notes
    several = ask(model, PROMPTS, [" fox", " quick money"], progress=False)
    assert several.by == "whole answer" and "scored whole" in several.notes[0]
    alike = ask(model, PROMPTS, [" quick fox", " quick money"], progress=False)
    assert alike.by == "whole answer"
    for found, options in ((single, (" fox", " money")), (several, (" fox", " quick money"))):
        for row, prompt in enumerate(PROMPTS):
            for column, option in enumerate(options):
                assert found.log_p[row, column] == pytest.approx(alone(model, prompt, option), abs=2e-4)
    p = np.exp(single.log_p)
    np.testing.assert_allclose(single.share, p / p.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(single.mass, p.sum(axis=1))
    np.testing.assert_allclose(single.log_odds, np.log(p[:, 0] / p[:, 1]))


def test_options_may_differ_by_row_and_batches_do_not_matter(llama):
    options = [[" fox", " money"], [" lied", " was"], [" money", " fox"]]
    whole = ask(llama, PROMPTS, options, progress=False)
    small = ask(llama, PROMPTS, options, batch_tokens=8, progress=False)
    np.testing.assert_allclose(whole.log_p, small.log_p, atol=1e-5)
    flipped = ask(llama, PROMPTS[::-1], options[::-1], progress=False)
    np.testing.assert_allclose(whole.log_p, flipped.log_p[::-1], atol=1e-5)


@pytest.mark.parametrize("options", [[" fox", " money"], [" fox", " quick money"]])
def test_asking_under_interventions_follows_each_row(llama, options):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(0))
    push = Direction.from_vector(vector, "resid_post.1")
    strengths = [0.0, 5.0, -5.0]
    together = ask(llama, PROMPTS, options, steering.Add(push, strengths, unit="raw"), batch_tokens=8, progress=False)
    for row, strength in enumerate(strengths):
        one = ask(llama, PROMPTS[row : row + 1], options, steering.Add(push, strength, unit="raw"), progress=False)
        np.testing.assert_allclose(together.log_p[row], one.log_p[0], atol=1e-4)
    plain = ask(llama, PROMPTS, options, progress=False)
    assert abs(together.log_p[1] - plain.log_p[1]).max() > 1e-2


def test_what_cannot_be_asked_is_told(llama, models):
    with pytest.raises(DataError, match="no prompts"):
        ask(llama, [], ["a", "b"])
    with pytest.raises(DataError, match="Row 0: options a; each row needs at least two"):
        ask(llama, ["x"], ["a"])
    with pytest.raises(DataError, match="none empty"):
        ask(llama, ["x"], ["a", ""])
    with pytest.raises(DataError, match="two are the same"):
        ask(llama, ["x"], ["a", "a"])
    with pytest.raises(DataError, match="2 prompts need as many lists of options; given: 1"):
        ask(llama, ["x", "y"], [["a", "b"]])
    with pytest.raises(DataError, match="as many as row 0"):
        ask(llama, ["x", "y"], [["a", "b"], ["a", "b", "c"]])
    with pytest.raises(ModelError, match="encoder"):
        ask(models("bert"), ["x"], ["a", "b"])
    with pytest.raises(DataError, match="context holds"):
        ask(llama, [tiny.TEXTS[0] * 60], [" fox", " money"])


def test_studies_are_found_by_name():
    assert "self_knowledge" in studies.names() and studies.self_knowledge is studies.get("self_knowledge")
    with pytest.raises(DataError, match="No study 'telepathy'; available: "):
        studies.get("telepathy")
    with pytest.raises(AttributeError):
        _ = studies.telepathy
    for name in studies.names():
        assert callable(studies.get(name).run) and callable(studies.get(name).figures)
        assert len(studies.about(name)) > 20
