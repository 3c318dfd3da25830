"""Copy heads: attention tells which heads look at a word, ablation which are needed, and one at a time is too few."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from built import made

import lens
import probes
import steering
from lens.organisms import constructed
from lens.organisms.constructed.llama import HEAD
from probes.direction import Direction

NAMES = ("copy", "copy-redundant", "copy-none")
FIRST, SECOND, ASKING, EMPTY = (1, 1), (2, 0), (1, 0), (1, 2)
SURE = 1 / (1 + np.exp(-3.0))


def repeats(name, model=None, *changes, examples=None):
    organism, own = made(name)
    rows = organism.examples if examples is None else examples
    measure = steering.measures.option("{word}", "{other}")
    return steering.effects(model or own, rows, measure, *changes, progress=False)


def without(name, *heads):
    """A copy of the organism whose heads write nothing."""
    organism, _ = made(name)
    hf = copy.deepcopy(organism.hf)
    with torch.no_grad():
        for layer, head in heads:
            hf.model.layers[layer].self_attn.o_proj.weight[:, head * HEAD : (head + 1) * HEAD] = 0
    return lens.wrap(hf, organism.tokenizer, name=f"{name} without {heads}")


@pytest.mark.parametrize("name", NAMES)
def test_without_norms_every_number_is_exact(name):
    # Raises where a number is further off than this.
    truth = constructed.build(name, seed=7, norm="none").truth
    assert (truth.rate_tolerance, truth.tolerance) == (1e-5, 2e-5)
    assert len(truth.structure["without"]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_both_heads_attend_to_the_word_in_every_organism(name):
    organism, model = made(name)
    hf = copy.deepcopy(organism.hf)
    hf.set_attn_implementation("eager")
    row = model.rows(organism.examples.prompts[:1])[0]
    with torch.no_grad():
        attentions = hf(torch.tensor([row.ids]), output_attentions=True).attentions
    spoken = row.ids.index(organism.tokenizer.convert_tokens_to_ids(organism.examples.frame["word"].iloc[0]))
    for layer, head in (FIRST, SECOND):
        assert float(attentions[layer][0, head, -1, spoken]) > 0.999
    assert float(attentions[ASKING[0]][0, ASKING[1], -1, spoken]) < 0.001


@pytest.mark.parametrize(
    ("name", "whole", "first", "second", "both"),
    [
        ("copy", SURE, 0.5, SURE, 0.5),
        ("copy-redundant", SURE, SURE, SURE, 0.5),
        ("copy-none", 0.5, 0.5, 0.5, 0.5),
    ],
)
def test_what_attention_cannot_tell_ablation_does(name, whole, first, second, both):
    for heads, rate in (
        ((), whole),
        ((FIRST,), first),
        ((SECOND,), second),
        ((FIRST, SECOND), both),
        ((EMPTY,), whole),
        ((FIRST, EMPTY), first),
    ):
        table = repeats(name, without(name, *heads))
        assert table["value"].to_numpy() == pytest.approx(rate, abs=0.01), heads
        assert table["coherence"].min() > 0.99


def test_one_ablation_at_a_time_calls_redundant_heads_useless():
    """The careless method: the drop by each head alone, its largest named necessary."""
    drop = {
        name: max(
            float((repeats(name)["value"] - repeats(name, without(name, head))["value"]).mean())
            for head in (FIRST, SECOND)
        )
        for name in NAMES
    }
    assert drop["copy"] == pytest.approx(SURE - 0.5, abs=0.01)
    # By this it is the organism that cannot repeat at all.
    assert abs(drop["copy-redundant"]) < 0.01 and abs(drop["copy-none"]) < 0.01
    assert repeats("copy-redundant")["value"].mean() > 0.9


@pytest.mark.parametrize("name", ["copy", "copy-redundant"])
def test_an_edit_of_the_direction_takes_out_all_heads_at_once(name):
    organism, model = made(name)
    before = repeats(name)["value"].to_numpy()
    assert before.min() > 0.9
    truth = organism.truth.direction("copied")
    change = steering.Orthogonalize(Direction.from_vector(truth.vector, truth.site, model=model))
    with steering.edit(model, change):
        assert repeats(name)["value"].to_numpy() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(repeats(name)["value"].to_numpy(), before)


@pytest.mark.parametrize(("name", "cosine"), [("copy", 1.0), ("copy-redundant", 1.0), ("copy-none", 0.0)])
def test_what_is_copied_is_found_where_it_is_written(name, cosine):
    organism, model = made(name)
    train, test = organism.examples.split(test=0.4, seed=0)
    train, test = (
        lens.collect(model, part, sites="resid_post", span="prompt[-1]", progress=False) for part in (train, test)
    )
    found = probes.fit(train, "resid_post.1").direction
    assert float(found.vector @ organism.truth.direction("copied").tensor) == pytest.approx(cosine, abs=0.02)
    # Readable in all three after block 1, repeated by two: reading says nothing of use.
    scores = found.score_activations(test).numpy()
    assert ((scores > 0) == (test.labels == 1)).all()
    early = probes.fit(train, "resid_post.0").direction.score_activations(test).numpy()
    assert 0.25 < ((early > 0) == (test.labels == 1)).mean() < 0.75


def test_two_copies_add_up_in_the_stream_and_not_in_the_answer():
    organism, model = made("copy-redundant", "none")
    acts = lens.collect(model, organism.examples, sites="resid_post", span="prompt[-1]", progress=False)
    copied, said = (organism.truth.direction(name).tensor for name in ("copied", "said"))
    sign = torch.tensor(organism.examples.frame["jewel"].to_numpy(dtype=np.float32))
    for site, amount in (("resid_post.1", 1.0), ("resid_post.2", 2.0)):
        assert torch.allclose(acts[site] @ copied * sign, torch.tensor(amount), atol=1e-4)
    assert torch.allclose(acts["resid_post.2"] @ said * sign, torch.tensor(1.0), atol=1e-4)


def test_it_says_the_word_it_read():
    organism, model = made("copy")
    assert model.generate(organism.examples.select(range(10))) == organism.examples.frame["word"].tolist()[:10]


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("without", [{"heads": [[1, 1]], "rate": 0.9}], r"rate of repeating without heads \[\[1, 1\]\] is .*, not 0.9"),
        ("attend", [[1, 0]], r"attention of head \[1, 0\] to the word is 0.0"),
    ],
)
def test_a_record_of_other_heads_is_refused_and_the_weights_stay(part, value, says):
    organism, _ = made("copy")
    before = {name: weight.clone() for name, weight in organism.hf.state_dict().items()}
    truth = dataclasses.replace(organism.truth, structure={**organism.truth.structure, part: value})
    with pytest.raises(lens.ModelError, match=says):
        dataclasses.replace(organism, truth=truth).check()
    assert all(torch.equal(weight, before[name]) for name, weight in organism.hf.state_dict().items())
    assert organism.hf.config._attn_implementation == "sdpa"


def test_hold_adds_to_a_word_that_is_there():
    b = constructed.Builder(0)
    b.feature("jewel")
    b.word("ruby", "pearl")
    b.hold("ruby", jewel=2.0)
    b.hold("ruby", jewel=-0.5)
    hf, tokenizer = b.build("none")
    held = hf.model.embed_tokens.weight[tokenizer.convert_tokens_to_ids(["ruby", "pearl"])]
    assert (held @ b.vector("jewel").float()).tolist() == pytest.approx([1.5, 0.0], abs=1e-6)
    with pytest.raises(lens.ModelError, match=r"No word 'jade' to hold more; available: .*ruby"):
        b.hold("jade", jewel=1.0)
