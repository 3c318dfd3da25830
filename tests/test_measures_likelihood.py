"""Likelihood and probe measures, against the same sums over an unpadded Hugging Face pass with a plain hook."""

from contextlib import contextmanager
from inspect import unwrap

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

import lens
import steering
from lens.generation import generate
from lens.tokens import encode
from probes import Direction
from steering import measures
from steering.effects import effects

FAMILIES = ("gpt2", "llama", "gemma2")
LAYER, STRENGTH, UNIT = 1, 0.7, 8.0
ANSWERS = [" fox", " about the quick money", None, " no", " she lied about that"]


@pytest.fixture(params=FAMILIES)
def model(request, models):
    return models(request.param)


@pytest.fixture(scope="module")
def table():
    return lens.Examples(pd.DataFrame({"prompt": tiny.TEXTS, "response": ANSWERS, "group": range(5)}))


@pytest.fixture(scope="module")
def answered(table):
    return table.select([0, 1, 3, 4])


@pytest.fixture(scope="module")
def direction():
    vector = torch.randn(64, generator=torch.Generator().manual_seed(3))
    return Direction.from_vector(vector, f"resid_post.{LAYER}", residual_norm=UNIT)


@contextmanager
def hooked(model, direction, start, strength=STRENGTH):
    """The same addition by a plain hook: at the token `start` of the one unpadded row, and after it."""

    def add(module, args, output):
        h = (output[0] if isinstance(output, tuple) else output).clone()
        h[:, start:] += strength * UNIT * direction.vector
        return (h, *output[1:]) if isinstance(output, tuple) else h

    handle = model.blocks[LAYER].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def log_p(model, ids):
    with torch.no_grad():
        return model.hf(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)


def by_hand(model, prompt, answer, direction=None):
    """Log-probabilities of the answer's tokens one by one."""
    row = encode(model.tokenizer, prompt, answer)
    start = row.prompt_length - 1
    if direction is None:
        found = log_p(model, row.ids)
    else:
        with hooked(model, direction, start):
            found = log_p(model, row.ids)
    return [float(found[k, row.ids[k + 1]]) for k in range(start, len(row.ids) - 1)]


def test_log_probability_is_that_of_the_given_text_under_the_steered_model(model, answered, direction):
    add = steering.Add(direction, STRENGTH)
    for change, hook in ((), None), ((add,), direction):
        each = [by_hand(model, *pair, hook) for pair in zip(answered.prompts, answered.responses, strict=True)]
        mean = effects(model, answered, measures.log_probability(), *change)["value"]
        total = effects(model, answered, measures.log_probability(reduce="sum"), *change)["value"]
        assert mean.to_numpy() == pytest.approx([np.mean(one) for one in each], abs=1e-4)
        assert total.to_numpy() == pytest.approx([np.sum(one) for one in each], abs=1e-4)


def test_perplexity_of_a_given_text_is_that_of_the_steered_model(model, answered, direction):
    got = effects(model, answered, measures.perplexity("response"), steering.Add(direction, STRENGTH))["value"]
    each = [by_hand(model, *pair, direction) for pair in zip(answered.prompts, answered.responses, strict=True)]
    assert got.to_numpy() == pytest.approx([np.exp(-np.mean(one)) for one in each], rel=1e-3)


def test_perplexity_of_what_is_generated_is_the_unsteered_models(model, table, direction):
    add = steering.Add(direction, 1.0)
    got = effects(model, table, measures.perplexity(max_new_tokens=5), add)
    with steering.apply(model, add):
        made = generate(model, table.prompts, max_new_tokens=5)
    for row, (prompt, one) in enumerate(zip(table.prompts, made, strict=True)):
        ids = encode(model.tokenizer, prompt).ids
        found = log_p(model, ids + one.ids)
        each = [float(found[len(ids) - 1 + k, token]) for k, token in enumerate(one.ids)]
        assert got["value"][row] == pytest.approx(np.exp(-np.mean(each)), rel=1e-3)


def divergence(steered, plain):
    return float((steered.exp() * (steered - plain)).sum())


def test_kl_is_that_of_the_next_token(model, table, direction):
    got = effects(model, table, measures.kl(), steering.Add(direction, STRENGTH))["value"]
    asymmetry = []
    for row, prompt in enumerate(table.prompts):
        ids = encode(model.tokenizer, prompt).ids
        plain = log_p(model, ids)[-1]
        with hooked(model, direction, len(ids) - 1):
            steered = log_p(model, ids)[-1]
        assert got[row] == pytest.approx(divergence(steered, plain), rel=1e-3)
        asymmetry.append(abs(divergence(plain, steered) / divergence(steered, plain) - 1))
    assert max(asymmetry) > 0.01  # the other way round would be seen


def test_kl_over_generated_tokens_is_their_mean(model, table, direction):
    add = steering.Add(direction, STRENGTH)
    got = effects(model, table, measures.kl("generated", max_new_tokens=4), add)["value"]
    with steering.apply(model, add):
        made = generate(model, table.prompts, max_new_tokens=4)
    for row, (prompt, one) in enumerate(zip(table.prompts, made, strict=True)):
        ids = encode(model.tokenizer, prompt).ids
        whole, at = ids + one.ids, range(len(ids) - 1, len(ids) + len(one.ids) - 1)
        plain = log_p(model, whole)
        with hooked(model, direction, len(ids) - 1):
            steered = log_p(model, whole)
        assert got[row] == pytest.approx(np.mean([divergence(steered[k], plain[k]) for k in at]), rel=1e-3)


def test_nothing_moves_without_strength(llama, table, direction):
    for measure in (measures.kl(), measures.kl("generated", max_new_tokens=3)):
        assert effects(llama, table, measure, steering.Add(direction, 0.0))["value"].abs().max() == 0.0


def test_the_probes_reading_moves_by_the_strength_times_the_cosine(model, table, direction):
    other = Direction.from_vector(direction.vector + torch.randn(64).mul(0.1), direction.site)
    before = effects(model, table, measures.probe_score(other))["value"]
    after = effects(model, table, measures.probe_score(other), steering.Add(direction, STRENGTH))["value"]
    moved = STRENGTH * UNIT * other.cosine(direction)
    assert (after - before).to_numpy() == pytest.approx(moved, rel=1e-4)
    for row, prompt in enumerate(table.prompts):
        with torch.no_grad():
            ids = torch.tensor([encode(model.tokenizer, prompt).ids])
            h = model.hf(ids, output_hidden_states=True).hidden_states[LAYER + 1][0, -1]
        assert before[row] == pytest.approx(float(h @ other.vector), abs=1e-4)


def test_a_probe_before_the_steered_site_reads_what_was_there(llama, table, direction):
    early, add = measures.probe_score(direction.at("resid_post.0")), steering.Add(direction, STRENGTH, span="all")
    plain, steered = effects(llama, table, early)["value"], effects(llama, table, early, add)["value"]
    assert plain.to_numpy() == pytest.approx(steered.to_numpy(), abs=1e-6)


def test_a_probe_can_read_a_given_response(llama, answered, direction):
    measure = measures.probe_score(direction, span="response", response="response")
    got = effects(llama, answered, measure, steering.Add(direction, STRENGTH, span="all"))["value"]
    plain = lens.collect(llama, answered, sites=[direction.site], span="response", progress=False)[direction.site]
    assert got.to_numpy() == pytest.approx(direction.project(plain).numpy() + STRENGTH * UNIT, rel=1e-4)


ALL = (
    measures.log_probability(),
    measures.perplexity("response"),
    measures.perplexity(max_new_tokens=4),
    measures.kl(),
    measures.kl("generated", max_new_tokens=4),
    measures.probe_score(Direction.from_vector(torch.ones(64), "resid_post.2")),
)


@pytest.mark.parametrize("measure", ALL, ids=lambda one: one.name)
def test_batches_are_invisible(model, answered, direction, measure):
    strength = torch.tensor([0.5, -1.0, 2.0, 0.0])
    whole = effects(model, answered, measure, steering.Add(direction, strength))["value"].to_numpy()
    alone = effects(model, answered, measure, steering.Add(direction, strength), batch_tokens=1)["value"].to_numpy()
    order = [2, 0, 3, 1]
    turned = effects(model, answered.select(order), measure, steering.Add(direction, strength[order]))["value"]
    assert alone == pytest.approx(whole, rel=1e-3, abs=1e-5)
    assert turned.to_numpy() == pytest.approx(whole[order], rel=1e-3, abs=1e-5)
    one = effects(model, answered.select([2]), measure, steering.Add(direction, 2.0))["value"]
    assert one[0] == pytest.approx(whole[2], rel=1e-3, abs=1e-5)


def test_a_missing_response_is_missing(llama, table):
    for measure in (
        measures.log_probability(),
        measures.log_probability(reduce="sum"),
        measures.perplexity("response"),
    ):
        assert np.isnan(effects(llama, table, measure)["value"]).tolist() == [False, False, True, False, False]


def test_a_measure_of_the_model_leaves_it_as_it_was(llama, table, direction):
    before = [dict(module._forward_hooks) for module in llama.hf.modules()]
    effects(llama, table, measures.kl(), steering.Add(direction, 1.0))
    assert llama.applied == [] and [dict(module._forward_hooks) for module in llama.hf.modules()] == before


def test_kl_beside_a_measure_of_the_model_is_that_of_the_next_token(llama, answered, direction):
    add = steering.Add(direction, STRENGTH)
    got = effects(llama, answered, measures.log_probability(), add, kl=True)["kl"]
    assert got.to_numpy() == pytest.approx(effects(llama, answered, measures.kl(), add)["value"].to_numpy(), rel=1e-4)


def test_a_missing_column_and_a_column_without_texts_are_named(llama, table):
    with pytest.raises(lens.DataError, match=r"No column 'answer'; available: prompt, response, group, label"):
        effects(llama, table, measures.log_probability("answer"))
    with pytest.raises(lens.DataError, match="Row 0: column 'group' holds 0"):
        effects(llama, table, measures.log_probability("group"))


def test_a_span_that_selects_nothing_is_refused_before_anything_runs(llama, table, direction):
    with pytest.raises(lens.SpanError, match="selects no token"):
        effects(llama, table, measures.kl(), steering.Add(direction, 1.0, span="response"))


def test_unknown_choices_are_refused():
    with pytest.raises(lens.DataError, match="Unknown reduce 'max'; available: mean, sum"):
        unwrap(measures.log_probability)(reduce="max")
    with pytest.raises(lens.DataError, match="Unknown over 'prompt'; available: next, generated"):
        unwrap(measures.kl)("prompt")
    with pytest.raises(lens.SiteError, match="read through the bridge"):
        measures.probe_score(Direction.from_vector(torch.ones(8), "blocks.1.attn.hook_z"))


def test_a_probe_of_another_model_is_refused(llama, gpt2, table):
    foreign = Direction.from_vector(torch.ones(64), "resid_post.1", model=gpt2)
    with pytest.raises(lens.ArtifactError, match="was fitted on 'gpt2'"):
        effects(llama, table, measures.probe_score(foreign))
