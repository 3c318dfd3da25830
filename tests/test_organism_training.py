"""Training: deterministic, falling loss, packed rows computed as single documents, a folder at the end."""

import json
import random

import pytest
import torch

from lens.organisms import corpus, tokenizer, train
from lens.organisms.muon import Muon, orthogonalise


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of 20 steps with one seed, on small batches."""
    old = dict(train.RECIPE)
    threads = torch.get_num_threads()
    train.RECIPE.update(rows=4)
    try:
        folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
        heard: list[tuple] = []
        logs = [train.train(folder, steps=20, threads=1, progress=lambda *a: heard.append(a)) for folder in folders]
    finally:
        train.RECIPE.update(old)
        torch.set_num_threads(threads)
    return folders, logs, heard


def test_training_is_deterministic(runs):
    (first, second), (one, two), _ = runs
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert one["sha256"] == two["sha256"]


def test_training_lowers_the_loss(runs):
    _, _, heard = runs
    losses = [loss for _, _, loss, _ in heard[:20]]
    # the reported loss is a slow average, so a fall of a few percent is a large one
    assert losses[-1] < 0.95 * losses[0]
    assert losses == sorted(losses, reverse=True)


def test_a_run_leaves_a_loadable_folder_and_no_halves(runs):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (folder, _), (log, _), _ = runs
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).get_vocab()["<bos>"] == model.config.bos_token_id
    assert not list(folder.glob("*.part"))
    assert json.loads((folder / "truth.json").read_text())["sha256"]["model.safetensors"] == log["sha256"]
    assert json.loads((folder / "training.json").read_text())["curve"][-1]["step"] == 19


def test_documents_in_a_row_do_not_see_each_other():
    torch.manual_seed(0)
    index = tokenizer.build().get_vocab()
    model = train.architecture(len(index)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3.0)  # at its initial scale a block hardly writes, and a leak would not show
    source = corpus.stream(random.Random(8))
    documents = [next(source) for _ in range(6)]
    batch = corpus.pack(documents, lambda: next(source), index, rows=2, length=128)
    with torch.inference_mode():
        packed = model(input_ids=batch.tokens, attention_mask=batch.mask(), position_ids=batch.position).logits
        open_mask = torch.ones(1, 1, 128, 128, dtype=torch.bool).tril().expand(2, 1, 128, 128)
        causal = model(input_ids=batch.tokens, attention_mask=open_mask, position_ids=batch.position).logits
        second = batch.document[0] == 2
        alone = model(input_ids=batch.tokens[0][second][None]).logits[0]
    assert torch.allclose(packed[0][second], alone, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(causal[0][second], alone, atol=1e-2, rtol=1e-2)


def test_loss_weighs_tokens_and_skips_padding():
    index = tokenizer.build().get_vocab()
    model = train.architecture(len(index)).eval()
    batch = next(corpus.batches(index, seed=1, steps=1, rows=2, length=64))
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask(), position_ids=batch.position).logits
    surprise = -logits.log_softmax(-1)[:, :-1].gather(-1, batch.tokens[:, 1:, None])[..., 0]
    weights = batch.weights[:, 1:]
    expected = (surprise * weights).sum() / weights.sum()
    assert torch.isclose(train.loss(model, batch), expected, rtol=1e-5)
    assert not torch.isclose(surprise.mean(), expected, rtol=1e-5)
    assert batch.weights[batch.document == 0].sum() == 0
    assert batch.weights[batch.position == 0].sum() == 0


def test_orthogonalise_flattens_the_spectrum():
    stack = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(stack))
    assert values.min() > 0.3 and values.max() < 1.4
    assert torch.linalg.svdvals(stack).max() > 5
    assert torch.allclose(orthogonalise(stack.mT), orthogonalise(stack).mT, atol=1e-5)


def test_muon_agrees_with_torch_up_to_its_bfloat16():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    generator = torch.Generator().manual_seed(1)
    start, gradient = (torch.randn(16, 24, generator=generator) for _ in range(2))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours.grad, theirs.grad = gradient.clone(), gradient.clone()
    Muon([ours], lr=0.1, weight_decay=0.1).step()
    torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw").step()
    assert torch.allclose(ours, theirs, atol=0.02)
    assert (ours - start).abs().max() > 0.05


def test_rate_rises_holds_and_falls():
    rates = [train.rate(step, 1000) for step in range(1000)]
    assert rates[0] < 0.02 and max(rates) == 1.0 and rates[599] == 1.0
    assert rates[800] == pytest.approx(0.5) and rates[-1] < 0.01
