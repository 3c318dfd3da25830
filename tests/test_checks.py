"""steering.check on every family: each property holds, or does not apply for the reason written here."""

import html
import json

import pytest
import tiny
import torch
import transformers

import lens
import steering
from steering import checks
from steering.checks import PROPERTIES, CheckReport
from steering.checks.case import rounding
from steering.checks.report import Row

NO_EDIT = {"edit", "edit = ablation", "undo", "bridge, edited"}
NO_WRITERS = {"writers", "ablation", "edit = ablation"}
ENCODER = NO_EDIT | NO_WRITERS | {"padding left", "cache", "cache, steered", "batched generation"}
NOT_APPLICABLE = {
    "opt": NO_WRITERS,  # its block calls the MLP's two layers itself
    "bloom": NO_WRITERS | NO_EDIT,  # attention and MLP are handed the stream; the embeddings are normalised
    **dict.fromkeys((*tiny.POST_NORM, *tiny.EXPERTS), NO_EDIT),
    "bert": ENCODER | {"bridge"},
}


def named(report: CheckReport, status: str) -> set[str]:
    return {row.property for row in report.rows if row.status == status}


# Blocks of kinds that are in the quick run too.
ALIKE = ("falcon", "gptneo", "gptj", "qwen2", "gemma3", "gptoss")


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=pytest.mark.slow) if f in ALIKE else f for f in (*tiny.ALL_FAMILIES, "bert")],
)
def test_every_family_passes_or_says_why_not(models, family):
    report = steering.check(models(family))
    assert report.ok, report
    assert named(report, "not applicable") == NOT_APPLICABLE.get(family, set())
    assert len(report.rows) == len(PROPERTIES) == 18
    assert all(row.why for row in report.rows)
    if family in tiny.POST_NORM:
        assert report["ablation"].status == "pass"
        assert "the hook equals no edit here" in report["edit = ablation"].why


def test_there_are_sixteen_architectures():
    assert len({tiny.config(family, 300).model_type for family in tiny.ALL_FAMILIES}) == len(tiny.ALL_FAMILIES) >= 16


def test_an_encoder_with_its_head_has_a_bridge():
    report = steering.check(lens.wrap(*tiny.encoder(transformers.BertForMaskedLM)))
    assert report.ok and named(report, "not applicable") == ENCODER


@pytest.mark.parametrize(
    ("family", "dtype"), [("llama", torch.bfloat16), ("gpt2", torch.float16), ("mixtral", torch.bfloat16)]
)
def test_models_in_16_bits_pass_with_a_tolerance_that_says_so(family, dtype):
    hf, tokenizer = tiny.hugging_face(family)
    report = steering.check(lens.wrap(hf.to(dtype), tokenizer))
    assert report.ok, report
    row = report["padding left"]
    assert row.tolerance == pytest.approx(12 * torch.finfo(dtype).eps, rel=1e-3)
    assert str(dtype).removeprefix("torch.") in row.why


def test_the_tolerance_is_what_its_formula_says(models):
    model = models("llama")
    assert rounding(model, torch.float32)[0] == pytest.approx(4 * 3 * (1 + 8) * 2.0**-23)


def test_a_tiny_context_is_enough():
    hf, tokenizer = tiny.hugging_face("gpt2")
    small = transformers.GPT2Config(**(hf.config.to_dict() | {"n_positions": 6}))
    torch.manual_seed(0)
    report = steering.check(lens.wrap(transformers.GPT2LMHeadModel(small), tokenizer))
    assert report.ok, report


def test_the_users_own_texts_are_used(gpt2):
    assert steering.check(gpt2, texts=["the quick fox", "she lied about that"]).ok
    with pytest.raises(lens.DataError):
        steering.check(gpt2, texts=["  ", ""])
    with pytest.raises(lens.DataError, match="context holds 128"):
        steering.check(gpt2, texts=["fox " * 200])


def test_texts_that_test_nothing_are_no_pass(gpt2):
    report = steering.check(gpt2, texts=["the quick fox"])
    assert set(report.untested) == {"padding left", "padding right", "batch order", "batched generation"}
    assert not report.ok and not report.failed
    assert "different lengths" in report["padding left"].why
    full = steering.check(gpt2, texts=["fox" + " fox" * 127, "she lied"])
    assert "context holds 128" in full["cache"].why and full["cache"].status == "not tested"


def test_a_model_that_does_not_run_is_tested_in_nothing(gpt2, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpt2.hf, "forward", broken)
    report = steering.check(gpt2)
    assert not report.ok and len(report.untested) == len(PROPERTIES)
    assert report["undo"].why == "RuntimeError: no such kernel"


def test_check_leaves_the_model_as_it_was():
    model = lens.wrap(*tiny.hugging_face("qwen3"))
    before, config = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}, model.hf.config.to_dict()
    name = model.fingerprint
    with torch.no_grad():
        model.hf(torch.tensor([[1]]), output_hidden_states=True)  # transformers itself leaves hooks behind, once
    hooks = [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.hf.modules()]
    steering.check(model)
    assert model.fingerprint == name and model.edits == [] and model.layout is None
    assert model.hf.config.to_dict() == config
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.hf.state_dict().items())
    assert [(list(m._forward_hooks), list(m._forward_pre_hooks)) for m in model.hf.modules()] == hooks


def test_a_low_precision_copy_that_does_not_fit_is_not_made(gpt2, monkeypatch):
    monkeypatch.setattr("steering.checks.reading._free_bytes", lambda device: 1000)
    monkeypatch.setattr(checks, "PROPERTIES", tuple(one for one in PROPERTIES if one[0] == "precision"))
    row = steering.check(gpt2)["precision"]
    assert row.status == "not applicable" and "GB are free" in row.why


def report(*rows: Row) -> CheckReport:
    return CheckReport("a <b>", rows)


def test_a_report_is_ok_only_if_nothing_failed_and_nothing_went_untested():
    good = Row("cache", "x", "pass", 1e-7, 1e-5, "rounding")
    skipped = Row("edit", "x", "not applicable", float("nan"), float("nan"), "an encoder")
    bad = Row("undo", "x", "fail", float("nan"), 0.0, "bits", "wte.weight (nan)")
    broke = Row("<i>", "x", "not tested", float("nan"), float("nan"), "RuntimeError: <script>")
    assert report(good, skipped).ok
    assert not report(good, bad).ok and report(good, bad).failed == ["undo"]
    assert not report(good, broke).ok and report(good, broke).untested == ["<i>"]
    whole = report(good, skipped, bad, broke)
    assert "NOT OK (1 pass, 1 fail, 1 not applicable, 1 not tested)" in str(whole)
    assert "first: wte.weight (nan)" in str(whole) and "RuntimeError: <script>" in str(whole)
    page = whole._repr_html_()
    assert "<script>" not in page and "<i>" not in page and "a <b>" not in page and html.escape("<script>") in page
    assert list(whole.table.columns) == ["property", "what", "status", "error", "tolerance", "why", "first"]
    loaded = json.loads(whole.to_json())
    assert loaded["ok"] is False and [row["error"] for row in loaded["rows"]] == [1e-7, None, None, None]
    assert json.loads(report(Row("edit", "x", "fail", float("inf"), 1.0, "y")).to_json())["rows"][0]["error"] == "inf"
    with pytest.raises(KeyError):
        whole["padding"]
