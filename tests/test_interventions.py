"""Interventions are pure functions of the stream; spans and strengths decide where they act."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import TEXTS

import lens
import steering
from lens import ArtifactError, SpanError
from lens.tokens import batches, pad
from probes import Direction
from steering import Ablate, Add

SITE = "resid_post.1"


def direction(seed=0, **known) -> Direction:
    vector = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    known = {"residual_norm": 10.0, "difference": 4.0, "neutral": 1.5} | known
    return Direction.from_vector(vector, SITE, **known)


def stream(seed=0, *shape):
    return torch.randn(*(shape or (3, 5, 64)), generator=torch.Generator().manual_seed(seed)) * 3


def logits(model, texts=TEXTS, side="left"):
    """Next-token logits of one padded batch."""
    rows = model.rows(texts)
    return model.next_token_logits(pad(rows, range(len(rows)), pad_id=model.pad_id, padding_side=side))


# --- the functions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "length"), [("norm", 10.0), ("difference", 4.0), ("raw", 1.0)])
def test_add_is_its_formula_in_every_unit(unit, length):
    h, d = stream(), direction()
    assert torch.allclose(Add(d, -0.5, unit=unit)(h), h - 0.5 * length * d.vector)


def test_adding_zero_changes_no_bit():
    h = stream()
    assert torch.equal(Add(direction(), 0.0)(h), h)
    assert torch.equal(Add(direction(), 0.0)(h.bfloat16()), h.bfloat16())


@given(st.floats(-4, 4), st.integers(0, 100))
def test_adding_and_taking_away_restores(strength, seed):
    h, d = stream(seed), direction(seed)
    assert float((Add(d, -strength)(Add(d, strength)(h)) - h).norm() / h.norm()) < 1e-5


@pytest.mark.parametrize(("to", "target"), [("neutral", 1.5), ("zero", 0.0), (2.25, 2.25), (-3, -3.0)])
def test_ablation_sets_the_coordinate_and_leaves_the_rest(to, target):
    h, d = stream(), direction()
    after = Ablate(d, to=to)(h)
    assert torch.allclose(after @ d.vector, torch.full(h.shape[:-1], target), atol=1e-4)
    across = torch.eye(64) - torch.outer(d.vector, d.vector)
    assert torch.allclose(after @ across, h @ across, atol=1e-4)


@given(st.integers(0, 100), st.sampled_from(["neutral", "zero", 2.0]))
def test_ablating_twice_is_ablating_once(seed, to):
    ablate = Ablate(direction(seed), to=to)
    once = ablate(stream(seed))
    assert torch.allclose(ablate(once), once, atol=1e-5)


def test_a_strength_of_half_ablates_half():
    h, d = stream(), direction()
    assert torch.allclose(Ablate(d, 0.5, to="zero")(h) @ d.vector, h @ d.vector / 2, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_dtype_stays(dtype):
    for change in (Add(direction(), [0.5, 1.0, 2.0]), Ablate(direction())):
        assert change(stream().to(dtype)).dtype == dtype


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_strengths_per_row_are_taken_in_any_form(kind):
    h, d = stream(), direction()
    for change in (Add, Ablate):
        rows = change(d, kind([0.0, 1.0, -2.0]))(h)
        for row, strength in enumerate((0.0, 1.0, -2.0)):
            assert torch.allclose(rows[row], change(d, strength)(h[row]), atol=1e-5)


def test_what_is_unknown_is_refused():
    bare = Direction.from_vector(torch.ones(64), SITE)
    with pytest.raises(ArtifactError, match=r"unit 'norm'.*unit='raw'"):
        Add(bare)
    with pytest.raises(ArtifactError, match="neutral value; use to='zero'"):
        Ablate(bare)
    with pytest.raises(ArtifactError, match=r"known at resid_post\.1 only"):
        Ablate(direction(), sites=(lens.Site("resid_post", 2),))
    with pytest.raises(SpanError, match="one per row"):
        Add(direction(), torch.ones(2, 2))


# --- inside a model --------------------------------------------------------------------------------------------------


def test_adding_zero_leaves_the_logits_bit_equal(model):
    before = logits(model)
    with steering.apply(model, Add(direction(), 0.0)):
        assert torch.equal(logits(model), before)


def test_opposite_strengths_cancel(model):
    before = logits(model)
    with steering.apply(model, Add(direction(), 0.5)):
        assert not torch.allclose(logits(model), before, atol=1e-2)
        with steering.apply(model, Add(direction(), -0.5)):
            assert torch.allclose(logits(model), before, atol=1e-3)


SPANS = {
    "all": slice(None),
    "prompt": slice(None),
    "prompt[-1]": slice(-1, None),
    "prompt[-1]:": slice(-1, None),
    "prompt[:2]": slice(None, 2),
    "prompt[1:]": slice(1, None),
    "prompt[0]": slice(0, 1),
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_span_decides_which_positions_change(models, family, span, side):
    """At the site, each position of the span moves by exactly the step, every other position by nothing."""
    model, d = models(family), direction()
    options = {"sites": SITE, "span": "prompt", "pool": "none", "padding_side": side}
    before = lens.collect(model, TEXTS, **options)
    with steering.apply(model, Add(d, 1.0, span=span)):
        moved = lens.collect(model, TEXTS, **options)[SITE] - before[SITE]
    for row in range(len(TEXTS)):
        change = moved[row][before.mask[row]]
        wanted = torch.zeros_like(change)
        wanted[SPANS[span]] = 10 * d.vector
        assert torch.allclose(change, wanted, atol=1e-4)
        assert (change[wanted.abs().sum(dim=1) == 0] == 0).all()


@pytest.mark.parametrize(("span", "steered"), [("response", slice(2, None)), ("response[0]", slice(2, 3))])
def test_response_spans_act_on_the_response(gpt2, span, steered):
    table = lens.Examples(pd.DataFrame({"prompt": ["the quick"], "response": [" brown fox lied"]}))
    options = {"sites": SITE, "span": "all", "pool": "none"}
    before = lens.collect(gpt2, table, **options)[SITE]
    with steering.apply(gpt2, Add(direction(), 1.0, span=span)):
        moved = (lens.collect(gpt2, table, **options)[SITE] - before)[0]
    wanted = torch.zeros_like(moved)
    wanted[steered] = 10 * direction().vector
    assert torch.allclose(moved, wanted, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 12, 10_000])
def test_each_row_has_its_own_strength_however_it_is_batched(model, tokens):
    strengths, rows = [0.0, 1.0, -1.0, 0.5, 2.0], model.rows(TEXTS)
    together = torch.zeros(len(TEXTS), len(model.tokenizer))
    with steering.apply(model, Add(direction(), strengths)):
        for batch in batches(rows, tokens=tokens, pad_id=model.pad_id, padding_side="left"):
            together[batch.rows] = model.next_token_logits(batch)
    for row, strength in enumerate(strengths):
        with steering.apply(model, Add(direction(), strength)):
            alone = logits(model, [TEXTS[row]])[0]
        assert torch.allclose(together[row], alone, atol=1e-3)


@pytest.mark.parametrize("count", [1, 4, 6])
def test_one_strength_per_row_or_none_at_all(gpt2, count):
    steered = steering.apply(gpt2, Add(direction(), [1.0] * count))
    with pytest.raises(SpanError, match=f"{count} strengths were given for 5 rows"), steered:
        logits(gpt2)


def test_interventions_act_in_the_order_given(gpt2):
    d = direction()
    add, ablate = Add(d, 1.0, span="all"), Ablate(d, to="zero", span="all")

    def left(*changes):
        with steering.apply(gpt2, *changes):
            return float(lens.collect(gpt2, TEXTS, sites=SITE)[SITE][0] @ d.vector)

    assert left(add, ablate) == pytest.approx(0.0, abs=1e-3)
    assert left(ablate, add) == pytest.approx(10.0, abs=1e-3)
    with steering.apply(gpt2, ablate):
        assert left(add) == pytest.approx(10.0, abs=1e-3)
    with steering.apply(gpt2, add):
        assert left(ablate) == pytest.approx(0.0, abs=1e-3)


def test_a_direction_acts_at_every_site_asked_for(gpt2):
    d, sites = direction(), tuple(gpt2.sites("resid_post"))
    with steering.apply(gpt2, Ablate(d, to="zero", sites=sites, span="all")):
        acts = lens.collect(gpt2, TEXTS, sites="resid_post", span="prompt")
    for site in sites:
        assert float((acts[site] @ d.vector).abs().max()) < 1e-4


def test_an_encoder_can_be_steered_too(models):
    bert = models("bert")
    before = lens.collect(bert, TEXTS, sites=SITE)[SITE]
    with steering.apply(bert, Add(direction(), 1.0, span="prompt[-1]")):
        moved = lens.collect(bert, TEXTS, sites=SITE)[SITE] - before
    assert torch.allclose(moved, (10 * direction().vector).expand(len(TEXTS), -1), atol=1e-4)
