"""steering.check catches what is broken on purpose: in the row meant for it, with the first place that differs."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import pytest
import tiny
import torch

import lens
import steering
from lens.adapters import build_bridge
from lens.model import Model
from lens.organisms import constructed
from lens.sites import Site
from steering import checks
from steering.apply import _Tracker, apply
from steering.checks import PROPERTIES
from steering.checks.case import rounding
from steering.edits import Edit


@pytest.fixture
def check(monkeypatch):
    """`check(model, "undo", ...)`: these properties only, which saves the time of the others."""

    def run(model: Model, *names: str) -> steering.CheckReport:
        monkeypatch.setattr(checks, "PROPERTIES", tuple(one for one in PROPERTIES if one[0] in names))
        report = steering.check(model)
        assert [row.property for row in report.rows] == [name for name, *_ in PROPERTIES if name in names]
        return report

    return run


def fresh(family: str) -> Model:
    return lens.wrap(*tiny.hugging_face(family), name=family)


def first(report: steering.CheckReport, name: str) -> str:
    """The first place that differs, of a property that must have failed."""
    row = report[name]
    assert row.status == "fail" and not report.ok, report
    return row.first


def test_positions_that_are_shifted(check, gpt2, monkeypatch):
    forward = Model.forward

    def shifted(self, batch, **options):
        return forward(self, replace(batch, index=torch.where(batch.index < 0, -1, batch.index + 1)), **options)

    monkeypatch.setattr(Model, "forward", shifted)
    report = check(gpt2, "padding left", "hidden states", "bridge")
    assert first(report, "hidden states").startswith("resid_pre.0 ")
    assert first(report, "bridge").startswith("resid_pre.0 ")
    assert report["padding left"].status == "pass"  # every batch is shifted alike


def test_positions_that_are_left_out(check, gpt2, monkeypatch):
    """Without explicit positions GPT-2 is wrong under left padding."""
    monkeypatch.setattr(gpt2, "forward_options", gpt2.forward_options - {"position_ids"})
    report = check(gpt2, "padding left", "padding right", "batch order", "hidden states", "writers", "span")
    assert report.failed == ["padding left", "span"]
    assert first(report, "padding left").startswith("resid_pre.0 ")


@pytest.mark.parametrize(
    ("family", "row", "place"), [("llama", "padding left", "attn_out.0 "), ("bert", "padding right", "resid_post.0 ")]
)
def test_a_mask_that_is_dropped(check, models, monkeypatch, family, row, place):
    model = models(family)
    whole = model.hf.forward

    def all_real(*args, attention_mask=None, **kwargs):
        mask = None if attention_mask is None else torch.ones_like(attention_mask)
        return whole(*args, attention_mask=mask, **kwargs)

    monkeypatch.setattr(model.hf, "forward", all_real)
    assert first(check(model, row), row).startswith(place)


def test_a_last_block_that_is_read_after_the_final_norm(check, llama, monkeypatch):
    attach, last = Model.attach, Site("resid_post", llama.n_layers - 1)

    def normed(self, site, hook):
        if site != last:
            return attach(self, site, hook)
        norm = self.hf.get_submodule(self.parts.final_norm)
        return attach(self, site, lambda h: hook(norm(h)))

    monkeypatch.setattr(Model, "attach", normed)
    report = check(llama, "padding left", "padding right", "batch order", "hidden states", "writers")
    assert first(report, "hidden states").startswith("resid_post.3 ")
    assert first(report, "writers").startswith("resid_post.3 ")


def test_a_final_norm_that_is_idempotent_hides_nothing(check, monkeypatch):
    """Norming twice is norming once where all gains are 1, as in a constructed organism."""
    organism = constructed.build("traits")
    model = lens.wrap(organism.hf, organism.tokenizer)
    attach = Model.attach

    def normed(self, site, hook):
        if site != Site("resid_post", self.n_layers - 1):
            return attach(self, site, hook)
        return attach(self, site, lambda h: hook(self.hf.get_submodule(self.parts.final_norm)(h)))

    monkeypatch.setattr(Model, "attach", normed)
    assert first(check(model, "hidden states"), "hidden states").startswith("resid_post.3 ")


def test_a_hook_on_the_wrong_block(check, gpt2, monkeypatch):
    place = Model._place
    monkeypatch.setattr(Model, "_place", lambda self, site: place(self, Site(site.kind, max(site.layer - 1, 0))))
    report = check(gpt2, "hidden states")
    assert first(report, "hidden states").startswith("resid_post.1 ")


def test_a_writer_that_is_not_what_enters_the_stream(check, monkeypatch):
    place = Model._place
    wrong = {Site("attn_out", 1): Site("mlp_out", 1)}
    monkeypatch.setattr(Model, "_place", lambda self, site: place(self, wrong.get(site, site)))
    report = check(fresh("llama"), "writers", "ablation")
    assert first(report, "writers").startswith("resid_mid.1 ")
    assert "ablation" in report.untested and "in block 1" in report["ablation"].why


def test_rows_that_are_returned_in_another_order(check, gpt2, monkeypatch):
    read = lens.collect

    def by_length(model, texts, **options):
        return read(model, sorted(texts, key=len), **options)

    monkeypatch.setattr("steering.checks.case.collect", by_length)
    assert first(check(gpt2, "batch order"), "batch order").startswith("resid_pre.0 ")


def test_16_bits_within_a_tolerance_for_32(check, gpt2, monkeypatch):
    monkeypatch.setattr("steering.checks.reading.rounding", lambda model, dtype: rounding(model, torch.float32))
    report = check(gpt2, "padding left", "precision")
    assert report.failed == ["precision"]
    assert first(report, "precision").startswith("resid_pre.0 ")


def test_an_addition_that_adds_nothing(check, llama, monkeypatch):
    monkeypatch.setattr(steering.Add, "__call__", lambda self, h: h)
    assert first(check(llama, "span"), "span").startswith("resid_post.2, tokens inside prompt[-1] ")


def test_an_addition_to_every_token(check, llama, monkeypatch):
    monkeypatch.setattr(_Tracker, "mask", lambda self, span, h: torch.ones(h.shape[:2], dtype=torch.bool))
    assert first(check(llama, "span"), "span").startswith("resid_post.2, tokens outside prompt[-1] ")


def test_hooks_that_an_exception_leaves_behind(check, monkeypatch):
    kept = []

    @contextmanager
    def leaking(model, *interventions, **options):
        block = apply(model, *interventions, **options)
        block.__enter__()
        kept.append(block)  # or it would be closed as soon as nothing refers to it
        yield
        block.__exit__(None, None, None)

    monkeypatch.setattr("steering.checks.running.apply", leaking)
    report = steering.check(fresh("llama"))
    assert report["hooks, exit"].status == "pass"
    assert first(report, "hooks, exception").startswith("resid_post.2 ")


def test_a_hook_that_is_always_left_behind(check, monkeypatch):
    attach, model = Model.attach, fresh("gpt2")

    def sticky(self, site, hook):
        attach(self, site, lambda h: None)
        return attach(self, site, hook)

    monkeypatch.setattr(Model, "attach", sticky)
    assert first(check(model, "hooks, exit"), "hooks, exit").startswith("hooks on transformer.h.0")


@pytest.mark.parametrize("times", [0, 2])
def test_cached_steps_that_forget_or_repeat_the_intervention(check, gpt2, monkeypatch, times):
    whole = _Tracker.hook

    def hook(self, intervention):
        once = whole(self, intervention)

        def change(h):
            for _ in range(times if h.shape[1] == 1 else 1):
                h = once(h)
            return h

        return change

    monkeypatch.setattr(_Tracker, "hook", hook)
    report = check(gpt2, "cache", "cache, steered", "span")
    assert report.failed == ["cache, steered"]
    assert first(report, "cache, steered").startswith("resid_post.2, new token 2 ")


def test_strengths_that_go_to_the_wrong_rows(check, gpt2, monkeypatch):
    at_rows = steering.Add.at_rows
    monkeypatch.setattr(steering.Add, "at_rows", lambda self, rows, total: at_rows(self, rows.flip(0), total))
    report = check(gpt2, "span", "cache, steered", "batched generation")
    assert report.failed == ["batched generation"]
    assert first(report, "batched generation").startswith("resid_post.2, new token 1 ")


def test_a_cache_that_is_never_used_is_no_pass(check, gpt2, monkeypatch):
    from lens.generation import generate

    def uncached(*args, use_cache=True, **options):
        return generate(*args, use_cache=False, **options)

    monkeypatch.setattr("steering.checks.generating.generate", uncached)
    report = check(gpt2, "cache", "cache, steered")
    assert report.untested == ["cache", "cache, steered"] and not report.ok
    assert "does not follow use_cache" in report["cache"].why


def test_an_ablation_that_misses_a_writer(check, llama, monkeypatch):
    def most(model):
        return tuple(site for site in steering.writers(model) if site != Site("mlp_out", 1))

    monkeypatch.setattr("steering.checks.editing.every_writer", most)
    report = check(llama, "ablation", "edit", "edit = ablation")
    assert report.failed == ["ablation", "edit = ablation"]
    assert first(report, "ablation").startswith("resid_post.1 ")
    assert first(report, "edit = ablation").startswith("mlp_out.1 ")


@pytest.mark.parametrize("checks_itself", [True, False])
def test_an_edit_that_forgets_a_writer(check, monkeypatch, checks_itself):
    model = fresh("llama")
    change, forgotten = Edit._change, "model.layers.2.mlp.down_proj.weight"
    monkeypatch.setattr(
        Edit, "_change", lambda self, delta: None if delta.parameter == forgotten else change(self, delta)
    )
    if not checks_itself:
        monkeypatch.setattr("steering.edits.running.left_over", lambda model, basis: 0.0)
    report = check(model, "undo", "edit", "edit = ablation")
    if checks_itself:
        assert "the edit refused" in first(report, "edit") and "undone" in report["edit"].why
    else:
        assert first(report, "edit").startswith("resid_post.2 ")
        assert first(report, "edit = ablation").startswith("mlp_out.2 ")


def test_an_undo_that_is_off_by_one_ulp(check, monkeypatch):
    model, undo = fresh("llama"), Edit.undo

    def nearly(self):
        undo(self)
        weight = model.blocks[1].self_attn.o_proj.weight
        with torch.no_grad():
            weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))

    monkeypatch.setattr(Edit, "undo", nearly)
    report = check(model, "undo", "edit", "edit = ablation", "hidden states")
    assert report.failed == ["undo"]
    assert first(report, "undo").startswith("model.layers.1.self_attn.o_proj.weight ")


def test_an_undo_that_leaves_the_embeddings_untied(check, monkeypatch):
    monkeypatch.setattr(Edit, "_retie", lambda self: None)
    report = steering.check(fresh("qwen3"))
    assert first(report, "undo").startswith("identity of lm_head.weight ")


def test_a_bridge_that_keeps_the_weights_from_before_an_edit(check, monkeypatch):
    model = fresh("llama")
    stale = build_bridge(copy.deepcopy(model.hf), model.tokenizer, "stale", model.parts.known_as)
    monkeypatch.setattr(Model, "bridge", stale)
    report = check(model, "bridge", "bridge, edited")
    assert report.failed == ["bridge, edited"]
    assert first(report, "bridge, edited").startswith("resid_pre.0 ")


def test_nan_is_never_a_pass():
    model = fresh("llama")
    model.blocks[2].mlp.down_proj.register_forward_hook(lambda module, args, output: output * float("nan"))
    report = steering.check(model)
    assert first(report, "writers") == "resid_post.2 (nan)"
    assert report["writers"].error != report["writers"].error
    assert "resid_post.2 is not finite" in report["padding left"].why
    assert not any(row.status == "pass" for row in report.rows)
