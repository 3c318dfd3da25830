"""steering.check passes on every family, and fails when something is broken on purpose."""

import pytest
import tiny
import torch

import lens
import steering
from lens.model import Model
from lens.spans import Span
from steering.apply import _Tracker as tracker
from steering.edit import Edit


def failed(model) -> set[str]:
    table = steering.check(model)
    return set(table.loc[table["passed"].eq(False), "check"])


@pytest.mark.parametrize("family", [*tiny.ALL_FAMILIES, "bert"])
def test_every_family_passes(models, family):
    table = steering.check(models(family))
    assert not failed(models(family)), table.to_string()
    skipped = set(table.loc[table["passed"].isna(), "check"])
    expected = {
        "bert": {"writers", "cache", "batch", "hooks", "edit", "undo"},
        "opt": {"writers", "edit"},
        "bloom": {"writers", "edit", "undo"},  # it normalises its embeddings
    }
    expected |= {family: {"edit", "undo"} for family in tiny.POST_NORM}
    assert skipped == expected.get(family, set())
    assert (table.loc[table["passed"].isna(), "note"].str.len() > 0).all()


def test_a_model_in_bfloat16_passes():
    hf, tokenizer = tiny.hugging_face("llama")
    model = lens.wrap(hf.to(torch.bfloat16), tokenizer)
    assert not failed(model) - {"cache", "batch"}  # greedy ties in 8 bits of mantissa are no error of ours


def test_the_users_own_texts_are_used(gpt2):
    assert steering.check(gpt2, texts=["the quick", "she"])["passed"].all()
    with pytest.raises(lens.DataError):
        steering.check(gpt2, texts=["  "])


def test_check_leaves_the_model_as_it_was(gpt2):
    before = gpt2.fingerprint
    steering.check(gpt2)
    assert gpt2.fingerprint == before and gpt2.edits == []


def test_missing_positions_are_noticed(gpt2, monkeypatch):
    """Without explicit positions GPT-2 is wrong under left padding."""
    monkeypatch.setattr(gpt2, "_forward_options", gpt2._forward_options - {"position_ids"})
    assert "padding" in failed(gpt2)


def test_a_mask_that_takes_pads_for_real_is_noticed(llama, monkeypatch):
    whole = llama.hf.forward

    def all_real(*args, attention_mask=None, **kwargs):
        mask = None if attention_mask is None else torch.ones_like(attention_mask)
        return whole(*args, attention_mask=mask, **kwargs)

    monkeypatch.setattr(llama.hf, "forward", all_real)
    assert "padding" in failed(llama)


def test_a_span_that_forgets_the_past_is_noticed(gpt2, monkeypatch):
    """As other tools do: the window is counted within each forward pass, so nothing is steered after the prompt."""

    def forgetful(self, index, prompt_length, length):
        last = torch.zeros_like(index, dtype=torch.bool)
        last[:, -1] = index.shape[1] > 1
        return last

    monkeypatch.setattr(Span, "select", forgetful)
    monkeypatch.setattr(tracker, "_all_in", lambda self, span, width: False)
    assert "cache" in failed(gpt2)


def test_a_hook_on_the_wrong_block_is_noticed(gpt2, monkeypatch):
    place = Model._place

    def shifted(self, site):
        return place(self, lens.Site(site.kind, max(site.layer - 1, 0)))

    monkeypatch.setattr(Model, "_place", shifted)
    assert "sites" in failed(gpt2)


def test_a_hook_left_behind_is_noticed(gpt2, monkeypatch):
    attach, handles = Model.attach, []

    def sticky(self, site, hook):
        handle = attach(self, site, hook)
        handles.append(attach(self, site, lambda h: h + 1e-3))
        return handle

    with monkeypatch.context() as patch:
        patch.setattr(Model, "attach", sticky)
        found = failed(gpt2)
    for handle in handles:
        handle.remove()
    assert "hooks" in found


def test_an_incomplete_edit_is_noticed(monkeypatch):
    model = lens.wrap(*tiny.hugging_face("llama"))
    monkeypatch.setattr(Edit, "_remove", lambda self, tensor, vector, axis: None)
    assert steering.check(model).set_index("check").loc["edit", "passed"] is not True


def test_an_undo_that_forgets_is_noticed(monkeypatch):
    model = lens.wrap(*tiny.hugging_face("llama"))
    undo = Edit.undo

    def forgetful(self):
        self._saved = self._saved[1:]
        undo(self)

    monkeypatch.setattr(Edit, "undo", forgetful)
    assert failed(model) & {"edit", "undo"}


def test_an_addition_that_adds_nothing_is_caught(models, monkeypatch):
    monkeypatch.setattr(steering.Add, "__call__", lambda self, h: h)
    assert "steering" in failed(models("llama"))


def test_nan_is_never_a_pass(models):
    model = lens.wrap(*tiny.hugging_face("llama"))
    model.blocks[2].mlp.down_proj.register_forward_hook(lambda module, args, output: output * float("nan"))
    assert {"padding", "sites"} <= failed(model)
