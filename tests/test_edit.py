"""steering.edit: directions written out of the weights, with exact undo; what cannot be edited is left as it was."""

import importlib

import pytest
import tiny
import torch
from edited import PLAIN, TIED, direction, fresh, is_as, logits, state
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TEXTS
from torch import nn

import lens
import steering
from lens import ArtifactError, ModelError
from probes import Direction
from steering import Ablate, AblateSubspace, Edit, Orthogonalize, edit, writers

in_force = importlib.import_module("steering.edits.in_force")


def tied(model) -> bool:
    return model.hf.get_output_embeddings().weight is model.hf.get_input_embeddings().weight


def shares(model, *directions):
    """The largest share of the stream along any of the directions, after the embeddings and after every block."""
    acts = lens.collect(model, TEXTS, sites=["resid_pre", "resid_post"], span="prompt", pool="none", progress=False)
    found = []
    for site in acts.sites:
        h = acts[site][acts.mask]
        found += [float(((h @ one.vector).abs() / h.norm(dim=-1)).max()) for one in directions]
    return max(found)


@pytest.mark.parametrize("family", PLAIN)
def test_an_edit_equals_ablating_at_every_writer(family):
    model, d = fresh(family), direction()
    plain = logits(model)
    with steering.apply(model, Ablate(d, to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    done = edit(model, Orthogonalize(d))
    assert float((logits(model) - hooked).abs().max() / hooked.std()) < 1e-4
    assert float((plain - hooked).abs().max() / hooked.std()) > 0.01
    assert done.exact and "what the same intervention makes" in done.note


@pytest.mark.parametrize("family", [*PLAIN, "opt"])
def test_nothing_along_the_direction_is_left_in_the_stream(family):
    model, d = fresh(family), direction()
    edit(model, Orthogonalize(d))
    assert shares(model, d) < 1e-5


@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia"])
def test_several_directions_are_one_edit_of_what_they_span(family):
    model, three = fresh(family), [direction(seed) for seed in range(3)]
    with steering.apply(model, AblateSubspace(tuple(three), to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    edit(model, Orthogonalize(three))
    assert float((logits(model) - hooked).abs().max() / hooked.std()) < 1e-4
    mixed = Direction.from_vector(three[0].vector - 2 * three[1].vector + three[2].vector, "resid_post.1")
    assert shares(model, *three, mixed) < 1e-5


@pytest.mark.parametrize("family", [*PLAIN, "opt"])
def test_undo_restores_every_bit_the_tying_and_the_configuration(family):
    model = fresh(family)
    before, plain = state(model), logits(model)
    done = edit(model, Orthogonalize(direction()))
    assert done.parameters
    done.undo()
    assert is_as(model, before) and torch.equal(logits(model), plain)
    with pytest.raises(ModelError, match="already undone"):
        done.undo()


@settings(max_examples=15)
@given(
    family=st.sampled_from(["gpt2", "llama", "qwen3"]),
    seed=st.integers(0, 10_000),
    count=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_undo_is_exact_whatever_the_direction_and_the_dtype(family, seed, count, dtype):
    model = fresh(family)
    model.hf.to(dtype)
    before = state(model)
    with edit(model, Orthogonalize([direction(seed + one) for one in range(count)])):
        assert not is_as(model, before)
    assert is_as(model, before)


@pytest.mark.parametrize("family", TIED)
def test_a_tied_unembedding_keeps_reading_the_direction(family):
    model, d = fresh(family), direction()
    assert tied(model)
    head = model.hf.get_output_embeddings().weight.detach().clone()
    edit(model, Orthogonalize(d))
    assert not tied(model) and model.hf.config.tie_word_embeddings is False
    assert torch.equal(model.hf.get_output_embeddings().weight, head)


@pytest.mark.parametrize("family", TIED)
def test_editing_a_tied_embedding_without_untying_would_be_wrong(family, monkeypatch):
    """The unembedding would lose the direction too: after the final norm that is another model."""
    model, d = fresh(family), direction()
    with steering.apply(model, Ablate(d, to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    monkeypatch.setattr(Edit, "_untie", lambda self: None)
    edit(model, Orthogonalize(d))
    assert float((logits(model) - hooked).abs().max() / hooked.std()) > 1e-3


@pytest.mark.parametrize("family", tiny.POST_NORM)
def test_models_that_normalise_what_is_written_are_refused(family):
    model = fresh(family)
    before = state(model)
    with pytest.raises(ModelError, match=r"normalises.*Ablate at attn_out and mlp_out.*through_norms=True"):
        edit(model, Orthogonalize(direction()))
    assert is_as(model, before)


@pytest.mark.parametrize("family", tiny.POST_NORM)
def test_through_norms_the_coordinate_is_gone_but_the_model_is_not_the_hooked_one(family):
    model, two = fresh(family), [direction(0), direction(1)]
    before = state(model)
    with steering.apply(model, AblateSubspace(tuple(two), to="zero", sites=writers(model), span="all")):
        hooked = logits(model)
    done = edit(model, Orthogonalize(two, through_norms=True))
    assert shares(model, *two) < 1e-5
    assert not done.exact and "not what Ablate at the writers does" in done.note
    assert float((logits(model) - hooked).abs().max() / hooked.std()) > 0.05
    done.undo()
    assert is_as(model, before)


@pytest.mark.parametrize("family", tiny.POST_NORM)
def test_orthogonalising_to_the_direction_itself_would_leave_it_behind_a_norm(family, monkeypatch):
    model = fresh(family)
    before = state(model)
    monkeypatch.setattr("steering.edits.orthogonalize.gain", lambda norm, width: torch.ones(width).double())
    with pytest.raises(ModelError, match=r"something else writes"):
        edit(model, Orthogonalize(direction(), through_norms=True))
    assert is_as(model, before)


def test_a_norm_that_is_no_gain_on_a_root_mean_square_is_not_written_through(monkeypatch):
    model = fresh("olmo2")
    norm = nn.LayerNorm(64)
    monkeypatch.setattr(model.blocks[1], "post_feedforward_layernorm", norm)
    with pytest.raises(ModelError, match="LayerNorm is no root-mean-square norm"):
        edit(model, Orthogonalize(direction(), through_norms=True))


def test_every_family_is_edited_as_the_hook_or_without_it_or_refused():
    """So that a family added to the tests is looked at here too."""
    other = (*tiny.POST_NORM, *tiny.EXPERTS, "bloom", "opt")
    assert sorted((*PLAIN, *other)) == sorted(tiny.ALL_FAMILIES)


def test_an_edit_undoes_itself_at_the_end_of_a_block_also_after_an_exception():
    model = fresh("llama")
    before = logits(model)
    with pytest.raises(RuntimeError), edit(model, Orthogonalize(direction())):
        assert not torch.equal(logits(model), before)
        raise RuntimeError
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("seeds", [(0, 1), (0, 0)], ids=["two directions", "one direction twice"])
def test_edits_are_undone_in_reverse_order(seeds):
    model = fresh("qwen3")
    before = state(model)
    first, second = (edit(model, Orthogonalize(direction(seed)), stack=True) for seed in seeds)
    with pytest.raises(ModelError, match="Undo the later edits first"):
        first.undo()
    second.undo()
    first.undo()
    assert is_as(model, before) and tied(model)


def test_an_edit_that_would_undo_part_of_another_is_refused():
    model, one, other = fresh("llama"), direction(0), direction(1)
    first = edit(model, Orthogonalize(one))
    before = state(model)
    with pytest.raises(ModelError, match=f"already edited by {first.name}.*stack=True"):
        edit(model, Orthogonalize(other))
    with pytest.raises(ModelError, match="already in force"):
        edit(model, Orthogonalize(one))
    assert is_as(model, before)
    # What the refusal is for: the second brings the first direction back.
    second = edit(model, Orthogonalize(other), stack=True)
    assert shares(model, one) > 1e-3
    second.undo()
    first.undo()
    edit(model, Orthogonalize(other))


def test_the_fingerprint_is_the_bases_plus_the_edits():
    model = fresh("llama")
    base, d = model.fingerprint, direction()
    with edit(model, Orthogonalize(d)) as done:
        assert model.fingerprint == f"{base}+{done.name}" and model.base_fingerprint == base
        with edit(model, Orthogonalize(direction(1)), stack=True) as other:
            assert model.fingerprint == f"{base}+{done.name}+{other.name}"
    assert model.fingerprint == base


def test_a_direction_of_the_base_still_fits_the_edited_model():
    model = fresh("llama")
    d = Direction.from_vector(torch.ones(64), "resid_post.1", model=model)
    with edit(model, Orthogonalize(d)), steering.apply(model, steering.Add(d, unit="raw")):
        logits(model)


def test_the_table_says_what_changed_and_by_how_much():
    model, d = fresh("llama"), direction()
    before = model.hf.get_parameter("model.layers.2.mlp.down_proj.weight").detach().clone()
    done = edit(model, Orthogonalize(d))
    table = done.table().set_index("parameter")
    assert list(table.index) == done.parameters and len(table) == 9
    moved = (d.vector @ before).norm() / before.norm()
    assert table.loc["model.layers.2.mlp.down_proj.weight", "change"] == pytest.approx(float(moved), rel=1e-4)
    assert table.loc["model.layers.2.mlp.down_proj.weight", "of"] == 128
    done.undo()
    assert done.table().empty and done.parameters == []


def test_an_edit_that_misses_a_writer_is_noticed_and_undone():
    """A writer the architecture does not name: here a hook that writes the direction after block 2."""
    model, d = fresh("llama"), direction()
    handle = model.blocks[2].register_forward_hook(lambda module, args, out: out + 5 * d.vector)
    before = state(model)
    with pytest.raises(ModelError, match=r"something else writes.*undone"):
        edit(model, Orthogonalize(d))
    assert is_as(model, before)
    handle.remove()


@pytest.mark.parametrize("at", [0, 3, 8])
def test_an_edit_that_fails_half_way_is_undone(monkeypatch, at):
    model = fresh("qwen3")
    before, change, calls = state(model), Edit._change, []

    def fail(self, delta):
        calls.append(delta)
        if len(calls) > at:
            raise RuntimeError("out of memory")
        change(self, delta)

    monkeypatch.setattr(Edit, "_change", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        edit(model, Orthogonalize(direction()))
    assert is_as(model, before) and tied(model)


def test_a_direction_of_another_model_is_refused(models):
    model = fresh("llama")
    with pytest.raises(ArtifactError, match="other_model=True"):
        edit(model, Orthogonalize(Direction.from_vector(torch.ones(64), "resid_post.1", model=models("gpt2"))))


def test_an_edit_needs_a_direction():
    with pytest.raises(ArtifactError, match="Orthogonalize needs a Direction"):
        Orthogonalize([])
