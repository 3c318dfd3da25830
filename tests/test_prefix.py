"""Beginnings that are run once: the same logits as whole texts, for every family; and the divergence from unsteered."""

import pytest
import tiny
import torch
from tiny import TEXTS

import lens
import steering
from lens.generation import generate
from lens.tokens import pad
from probes import Direction
from steering import Add, measures, prefix
from steering.dosing import Doses
from steering.prefix import Prefix

MEASURE = measures.option(" yes", " no")
STRENGTHS = [-1.0, 0.0, 2.0]


def direction(seed=0):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    return Direction.from_vector(vector, "resid_post.1", residual_norm=8.0)


def batch_of(model, texts=TEXTS):
    return pad(model.rows(texts), range(len(texts)), pad_id=model.pad_id, padding_side="left")


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("family", tiny.ALL_FAMILIES)
def test_a_text_continued_from_its_beginning_is_the_whole_text(models, family, columns):
    model = models(family)
    batch = batch_of(model)
    whole = model.next_token_logits(batch)
    apart = Prefix(model, batch, columns).logits(3)
    scale = float(whole.abs().max())
    assert torch.allclose(apart.unflatten(0, (len(TEXTS), 3)), whole[:, None].expand(-1, 3, -1), atol=1e-5 * scale)


@pytest.mark.parametrize("span", ["prompt[-1]:", "prompt[2:]", "all"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_every_strength_is_what_it_is_alone(models, family, span):
    model = models(family)
    examples = lens.Examples.from_texts([text for text in TEXTS if len(model.rows([text])[0]) > 2])
    doses = Doses(model, examples, MEASURE, STRENGTHS, "norm", span, progress=False)
    for one, tables in zip((direction(), direction(1)), doses([direction(), direction(1)]), strict=True):
        for strength in STRENGTHS:
            alone = steering.effects(model, examples, MEASURE, Add(one, strength, span=span), kl=True, progress=False)
            for column in ("value", "coherence", "kl"):
                assert tables[strength][column].tolist() == pytest.approx(alone[column].tolist(), abs=2e-5)


def columns_run(model, doses):
    """How many columns each pass over the first block had."""
    seen = []
    handle = model.attach(lens.Site("resid_post", 0), lambda h: seen.append(tuple(h.shape[:2])))
    doses([direction(), direction(1)])
    handle.remove()
    return seen


def test_what_comes_before_the_first_steered_token_is_run_once(llama):
    examples = lens.Examples.from_texts(["the quick brown fox", "she lied about money"])
    doses = Doses(llama, examples, MEASURE, STRENGTHS, "norm", "prompt[-1]:", progress=False)
    width = max(len(row) for row in llama.rows(examples.prompts))
    # Tried on two rows whole, and in two parts; then the beginning, and the last column of each direction.
    trial = [(2, width), (2, width - 1), (2, 1)]
    assert columns_run(llama, doses) == [*trial, (2, width - 1), (6, 1), (6, 1)]
    everywhere = Doses(llama, examples, MEASURE, STRENGTHS, "norm", "all", progress=False)
    assert columns_run(llama, everywhere) == [(6, width), (6, width)]


def test_a_model_that_does_not_continue_as_it_reads_is_run_whole(models, monkeypatch):
    model = models("gpt2")
    examples = lens.Examples.from_texts(TEXTS)
    doses = Doses(model, examples, MEASURE, STRENGTHS, "norm", "prompt[-1]:", progress=False)
    wanted = doses([direction()])[0]
    real = Prefix.logits

    def wrong(self, copies):
        found = real(self, copies)
        return found + 1.0 * (self.columns > 0) * torch.arange(found.shape[1])

    monkeypatch.setattr(prefix.Prefix, "logits", wrong)
    found = doses([direction()])[0]
    for strength in STRENGTHS:
        assert found[strength]["value"].tolist() == pytest.approx(wanted[strength]["value"].tolist(), abs=1e-5)


def test_few_logits_at_a_time_change_nothing(llama, monkeypatch):
    examples = lens.Examples.from_texts(TEXTS)
    doses = Doses(llama, examples, MEASURE, [-2.0, -1.0, 0.0, 1.0, 2.0], "norm", "prompt[-1]:", progress=False)
    wanted = doses([direction()])[0]
    monkeypatch.setattr("steering.dosing.LOGITS", 2 * len(TEXTS) * llama.hf.config.vocab_size)
    found = doses([direction()])[0]
    for strength, table in wanted.items():
        for column in ("value", "kl"):
            assert found[strength][column].tolist() == pytest.approx(table[column].tolist(), abs=1e-5)


def test_divergence_is_that_of_torch_and_zero_without_steering(gpt2):
    examples = lens.Examples.from_texts(TEXTS)
    plain = gpt2.next_token_logits(batch_of(gpt2))
    with steering.apply(gpt2, Add(direction(), 1.0)):
        steered = gpt2.next_token_logits(batch_of(gpt2))
    p, q = torch.log_softmax(steered, -1), torch.log_softmax(plain, -1)
    wanted = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(dim=-1)
    found = steering.effects(gpt2, examples, MEASURE, Add(direction(), 1.0), kl=True, progress=False)["kl"]
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-3)
    assert float(found.min()) > 1e-3
    assert steering.effects(gpt2, examples, MEASURE, kl=True, progress=False)["kl"].abs().max() < 1e-6


def test_the_divergence_of_a_text_is_the_mean_over_the_tokens_that_were_generated(gpt2):
    measure, change = measures.contains("fox", max_new_tokens=4), Add(direction(), 1.0)
    examples = lens.Examples.from_texts(TEXTS)
    found = steering.effects(gpt2, examples, measure, change, kl=True, progress=False)["kl"]
    with steering.apply(gpt2, change):
        made = generate(gpt2, TEXTS, max_new_tokens=4)
    for row, text in enumerate(TEXTS):
        start, each = gpt2.rows([text])[0].ids, []
        for count in range(len(made[row].ids)):
            ids = torch.tensor([start + made[row].ids[:count]])
            with torch.no_grad():
                q = torch.log_softmax(gpt2.hf(input_ids=ids).logits[0, -1], -1)
                spans = Add(direction(), 1.0, span=f"prompt[{len(start) - 1}]:")
                with steering.apply(gpt2, spans):
                    p = torch.log_softmax(gpt2.hf(input_ids=ids).logits[0, -1], -1)
            each.append(float((p.exp() * (p - q)).sum()))
        assert found[row] == pytest.approx(sum(each) / len(each), rel=1e-3)


@pytest.mark.parametrize("span", ["prompt", "prompt[:2]"])
def test_a_gate_outside_holds_for_every_copy_of_its_row(llama, span):
    """The prompt is read in one pass, its copies run in another; each follows the row that it is a copy of. The second
    span has been read whole before there are copies."""
    texts = [text for text in TEXTS if len(llama.rows([text])[0]) > 2]
    examples = lens.Examples.from_texts(texts)
    early = Direction.from_vector(direction(5).vector, "resid_post.0", residual_norm=8.0)
    acts = lens.collect(llama, texts, sites=["resid_post.0"], span=span, progress=False)
    middle = float(early.score(acts["resid_post.0"]).median())
    gate = steering.Gate(early, middle, span=span)
    opens = gate.opens(llama, texts).tolist()
    assert True in opens and False in opens and opens != sorted(opens)
    with steering.apply(llama, Add(direction(6), 2.0, when=gate)):
        doses = Doses(llama, examples, MEASURE, STRENGTHS, "norm", "prompt[-1]:", progress=False)
        (tables,) = doses([direction()])
        for strength in STRENGTHS:
            alone = steering.effects(llama, examples, MEASURE, Add(direction(), strength), progress=False)
            assert tables[strength]["value"].tolist() == pytest.approx(alone["value"].tolist(), abs=2e-5)
