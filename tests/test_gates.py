"""Gates: which rows an intervention acts on is decided by each row's own prompt, however the model is run."""

import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
from tiny import TEXTS

import lens
import steering
from lens import ArtifactError, SiteError, SpanError
from lens.errors import DataError
from lens.generation import generate
from probes import Direction
from steering import Add, Gate

READ, ACT, NEW = "resid_post.0", "resid_post.1", 6


def vector(seed, site=READ):
    return Direction.from_vector(
        torch.randn(64, generator=torch.Generator().manual_seed(seed)), site, residual_norm=15.0
    )


def scores(model, direction, pool="mean", span="prompt"):
    """Of each text alone, unpadded, from Hugging Face's hidden states."""
    out = []
    for text in TEXTS:
        ids = model.rows([text])[0].ids
        with torch.no_grad():
            h = model.hf(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0]
        each = direction.score(h[-1:] if span == "prompt[-1]" else h)
        out.append(float({"mean": each.mean(), "max": each.max(), "last": each[-1]}[pool]))
    return np.array(out)


def halves(model, direction, **options):
    """A threshold that some rows pass, and which rows those are."""
    found = scores(model, direction, **options)
    above = float(np.sort(found)[1:3].mean())
    return above, found > above


def ids(model, texts=TEXTS, **options):
    return [made.ids for made in generate(model, texts, max_new_tokens=NEW, **options)]


def logits(model, texts=TEXTS):
    batch = lens.tokens.pad(model.rows(texts), range(len(texts)), pad_id=model.pad_id, padding_side="left")
    return model.next_token_logits(batch)


@pytest.mark.parametrize("pool", ["mean", "max", "last"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_rows_that_pass_the_threshold_are_steered_and_the_others_are_as_they_were(models, family, pool):
    model, direction = models(family), vector(0)
    above, wanted = halves(model, direction, pool=pool)
    gate = Gate(direction, above, pool=pool)
    assert gate.opens(model, TEXTS).tolist() == wanted.tolist()
    plain = logits(model)
    with steering.apply(model, Add(vector(1, ACT), 1.0)):
        always = logits(model)
    with steering.apply(model, Add(vector(1, ACT), 1.0, when=gate)):
        gated = logits(model)
    assert torch.equal(gated, torch.where(torch.tensor(wanted)[:, None], always, plain))
    assert not torch.allclose(always, plain)


@pytest.mark.parametrize("family", [*tiny.FAMILIES, "bloom", "gptoss"])
def test_a_gate_decides_once_for_cached_uncached_batched_and_single_generation(models, family):
    model, direction = models(family), vector(2)
    above, wanted = halves(model, direction)
    plain = ids(model)
    with steering.apply(model, Add(vector(1, ACT), 2.0)):
        always = ids(model)
    with steering.apply(model, Add(vector(1, ACT), 2.0, when=Gate(direction, above))):
        gated = ids(model)
        assert ids(model, use_cache=False) == gated
        assert [ids(model, [text])[0] for text in TEXTS] == gated
        assert ids(model, batch_tokens=1) == gated
    assert gated == [a if on else p for a, p, on in zip(always, plain, wanted, strict=True)]
    assert always != plain


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_under_beam_search_every_beam_has_its_prompt_s_decision(models, family):
    model, direction = models(family), vector(2)
    above, wanted = halves(model, direction)
    with steering.apply(model, Add(vector(1, ACT), 2.0)):
        always = ids(model, num_beams=3)
    plain = ids(model, num_beams=3)
    with steering.apply(model, Add(vector(1, ACT), 2.0, when=Gate(direction, above))):
        assert ids(model, num_beams=3) == [a if on else p for a, p, on in zip(always, plain, wanted, strict=True)]


def test_a_direct_call_of_the_model_is_gated_by_its_whole_input(gpt2):
    direction = vector(0)
    above, wanted = halves(gpt2, direction)
    for text, on in zip(TEXTS, wanted, strict=True):
        given = {"input_ids": torch.tensor([gpt2.rows([text])[0].ids])}
        with torch.no_grad():
            plain = gpt2.hf(**given).logits
            with steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=Gate(direction, above))):
                gated = gpt2.hf(**given).logits
        assert torch.equal(gated, plain) != on


def test_a_gate_reads_the_prompt_and_never_the_answer(gpt2):
    """What is forced into the answer does not open a gate that the prompt leaves shut."""
    direction = vector(3)
    gate = Gate(direction, float(scores(gpt2, direction).max()) + 1e-3, pool="mean")
    answers = [" money money money"] * len(TEXTS)
    batch = lens.tokens.pad(gpt2.rows(TEXTS, answers), range(len(TEXTS)), pad_id=gpt2.pad_id)
    plain = gpt2.forward(batch).logits
    with steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=gate)):
        assert torch.equal(gpt2.forward(batch).logits, plain)
    with steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=~gate)):
        assert not torch.equal(gpt2.forward(batch).logits, plain)


def test_rules_join_gates_as_logic_does(gpt2):
    one, two = vector(0), vector(4)
    (a, first), (b, second) = halves(gpt2, one), halves(gpt2, two)
    x, y = Gate(one, a), Gate(two, b)
    assert first.tolist() != second.tolist()
    for rule, wanted in {
        x & y: first & second,
        x | y: first | second,
        x & ~y: first & ~second,
        ~(x | y): ~(first | second),
    }.items():
        assert rule.opens(gpt2, TEXTS).tolist() == wanted.tolist()
        plain = logits(gpt2)
        with steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=rule)):
            moved = (logits(gpt2) != plain).any(dim=1)
        assert moved.tolist() == wanted.tolist()


def test_two_interventions_may_share_a_gate_and_each_reads_what_it_has_not_touched(gpt2):
    """The gate stands before the addition at its own site, so that the addition does not open it."""
    direction = vector(0)
    gate = Gate(direction, float(scores(gpt2, direction).max()) + 1e-3)
    plain = logits(gpt2)
    push = Add(direction, 5.0, span="all", when=gate)
    with steering.apply(gpt2, push, Add(vector(1, ACT), 1.0, when=gate)):
        assert torch.equal(logits(gpt2), plain)
    # An earlier addition that is not gated is there to be read.
    with steering.apply(gpt2, Add(direction, 5.0, span="all"), Add(vector(1, ACT), 1.0, when=gate)):
        both = logits(gpt2)
    with steering.apply(gpt2, Add(direction, 5.0, span="all")):
        assert not torch.equal(logits(gpt2), both)


def test_a_gate_is_not_carried_from_one_text_to_the_next(gpt2):
    direction = vector(0)
    above, wanted = halves(gpt2, direction)
    with steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=Gate(direction, above))):
        together = [logits(gpt2, [text]) for text in TEXTS]
        again = [logits(gpt2, [text]) for text in reversed(TEXTS)]
    assert all(torch.equal(a, b) for a, b in zip(together, reversed(again), strict=True))
    assert len(set(wanted.tolist())) == 2


def test_a_threshold_from_control_rows_opens_for_no_more_of_them_than_allowed(gpt2):
    texts = [f"{a} {b} {c}" for a in ("the", "she", "a") for b in ("fox", "money", "lie") for c in ("was", "is", "no")]
    acts = lens.collect(gpt2, texts, sites=[READ], span="prompt", pool="mean", progress=False)
    gate = Gate.calibrate(vector(0), acts, fpr=0.1)
    assert (str(gate.span), gate.pool) == ("prompt", "mean")
    assert int(gate.opens(gpt2, texts).sum()) == 2  # of 27, at most 2.7
    with pytest.raises(DataError, match=r"27 rows cannot set a false-positive rate of 0\.01"):
        Gate.calibrate(vector(0), acts, fpr=0.01)
    loose = lens.collect(gpt2, texts, sites=[READ], span="prompt", pool="none", progress=False)
    with pytest.raises(DataError, match="pool 'mean' or 'last'"):
        Gate.calibrate(vector(0), loose, fpr=0.1)


def test_what_a_gate_cannot_do_is_said_before_anything_runs(gpt2):
    with pytest.raises(ArtifactError, match="bias is nan"):
        Gate(vector(0).without(vector(1)))
    with pytest.raises(SpanError, match="'response' is not in the prompt"):
        Gate(vector(0), span="response")
    before = len(gpt2.blocks[0]._forward_hooks)  # transformers keeps one of its own
    late = Gate(vector(0, "resid_post.2"))
    with (
        pytest.raises(SiteError, match=r"A gate at resid_post.2 has read nothing yet when Add acts at resid_post.1"),
        steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=late)),
    ):
        pass
    none = Gate(vector(0), span="prompt[7:]")
    with (
        pytest.raises(SpanError, match="selects no token of row"),
        steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=none)),
    ):
        logits(gpt2)
    assert gpt2.applied == [] and len(gpt2.blocks[0]._forward_hooks) == before
    other = tiny.hugging_face("gpt2", seed=1)
    foreign = Direction.from_vector(torch.ones(64), READ, model=lens.wrap(*other, name="other"))
    with (
        pytest.raises(ArtifactError, match="fitted on 'other'"),
        steering.apply(gpt2, Add(vector(1, ACT), 1.0, when=Gate(foreign))),
    ):
        pass


def test_the_gate_is_part_of_what_an_intervention_is_called(gpt2):
    names = {
        Add(vector(1, ACT), 1.0, when=when).identifier
        for when in (None, Gate(vector(0)), Gate(vector(0), 1.0), Gate(vector(2)), ~Gate(vector(0)))
    }
    assert len(names) == 5


WRONG = """
import sys
from lens import LensError
from probes import Direction
from steering import Add, Gate
d = Direction.from_vector([1.0] * 8, "resid_post.0", residual_norm=1.0)
for wrong in (
    lambda: Gate("harm"),
    lambda: Gate(d, pool="sum"),
    lambda: Add(d, 1.0, when=d),
    lambda: Gate(d) & "harm",
):
    try:
        wrong()
        print("nothing")
    except LensError as error:
        print(error)
"""


def test_the_wrong_kind_of_thing_is_named_without_type_checking():
    """In a process of its own: here every annotation is checked, which users do not have."""
    told = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=True).stdout
    assert [line.split(";")[0].split("(")[0].strip() for line in told.splitlines()] == [
        "Gate needs a Direction",
        "Unknown pool 'sum'",
        "when= takes a Gate, or gates joined by & | ~",
        "& joins gates",
    ]
