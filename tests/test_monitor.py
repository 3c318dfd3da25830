"""A monitor scores every generated token once, in the pass that makes it, and keeps its false-alarm rate."""

import numpy as np
import pytest
import tiny
import torch

import lens
import steering
from lens import Examples
from probes import Direction, Monitor
from probes.monitor import Watched

PROMPTS = ["the quick brown", "she", "the money that she lied about", "a fox, a fox"]


@pytest.fixture(scope="module")
def model():
    return lens.wrap(*tiny.hugging_face("llama"))


@pytest.fixture(scope="module")
def direction(model):
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(3))
    return Direction.from_vector(vector, "resid_post.1", model=model, bias=0.5, residual_norm=5.0)


def monitor(direction, threshold):
    return Monitor(direction, threshold, fpr=0.1, false_alarms=0.0, low=0.0, high=1.0, controls=10)


def control(model, n=40):
    rng = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money"]
    texts = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(n)]
    examples = Examples.from_texts([f"{k} {text}" for k, text in enumerate(texts)])
    return lens.collect(model, examples, sites=["resid_post.1"], span="prompt[1:]", pool="none", progress=False)


def test_the_scores_are_those_of_the_generated_tokens(model, direction):
    read = lens.collect_generated(model, PROMPTS, sites=["resid_post.1"], pool="none", max_new_tokens=5, progress=False)
    wanted = direction.score_activations(read)
    for row, watched in enumerate(monitor(direction, 0.0).watch(model, PROMPTS, max_new_tokens=5)):
        assert watched.text == read.examples.frame["response"][row] and len(watched.tokens) == 5
        assert np.allclose(watched.scores, wanted[row][read.mask[row]], atol=1e-3)


@pytest.mark.parametrize("site", ["resid_post.0", "resid_post.1"])
def test_steered_text_is_watched_as_it_is_steered(model, direction, site):
    """Also where the direction that is watched is the one that is added."""
    plain = monitor(direction, 0.0).watch(model, PROMPTS, max_new_tokens=5)
    with steering.apply(model, steering.Add(direction, 2.0, sites=[site])):
        read = lens.collect_generated(
            model, PROMPTS, sites=["resid_post.1"], pool="none", max_new_tokens=5, progress=False
        )
        watched = monitor(direction, 0.0).watch(model, PROMPTS, max_new_tokens=5)
    wanted = direction.score_activations(read)
    for row, one in enumerate(watched):
        assert one.text == read.examples.frame["response"][row]
        assert np.allclose(one.scores, wanted[row][read.mask[row]], atol=1e-3)
        assert one.scores.mean() > plain[row].scores.mean() + 1


def test_tokens_come_one_by_one_to_the_callback(model, direction):
    seen = []
    watched = monitor(direction, 1e9).watch(model, PROMPTS, max_new_tokens=4, on_token=lambda *one: seen.append(one))
    assert len(seen) == 16
    for row in range(4):
        assert [score for number, score in seen if number == row] == watched[row].scores.tolist()


@pytest.mark.parametrize("batch_tokens", [1, 8192])
def test_stopping_ends_each_text_at_its_first_flagged_token(model, direction, batch_tokens):
    free = monitor(direction, 0.0).watch(model, PROMPTS, max_new_tokens=8)
    middle = float(np.median(np.concatenate([one.scores for one in free])))
    watch = monitor(direction, middle)
    whole = watch.watch(model, PROMPTS, max_new_tokens=8)
    stopped = watch.watch(model, PROMPTS, max_new_tokens=8, stop=True, batch_tokens=batch_tokens)
    assert any(one.flagged for one in whole)
    for full, cut in zip(whole, stopped, strict=True):
        end = 8 if full.first is None else full.first + 1
        assert cut.tokens == full.tokens[:end] and cut.flagged == full.flagged == cut.stopped
        assert np.allclose(cut.scores, full.scores[:end], atol=1e-3)


@pytest.mark.parametrize("fpr", [0.05, 0.2])
def test_the_threshold_lets_no_more_of_the_controls_pass_than_said(model, direction, fpr):
    acts = control(model)
    found = Monitor.calibrate(direction, acts, fpr=fpr)
    table = found.read(acts)
    assert table["flagged"].mean() == found.false_alarms <= fpr
    assert found.low <= found.false_alarms <= found.high and found.controls == 40
    scores = direction.score_activations(acts).double().masked_fill(~acts.mask, -torch.inf).amax(dim=1)
    # One more would be too many.
    assert (scores >= found.threshold).double().mean() > fpr


def test_the_view_marks_and_colours_flagged_tokens_and_escapes_text():
    one = Watched("a<b", ("a", "<b>"), np.array([0.5, 2.0]), threshold=1.0, stopped=False)
    assert str(one) == "a [<b>]" and one.first == 1
    page = one._repr_html_()
    assert "&lt;b&gt;" in page and "<b>" not in page and "213,94,0,0.75" in page


def test_what_cannot_be_watched_is_said(model, direction):
    acts = control(model, n=10)
    pooled = lens.collect(model, PROMPTS, sites=["resid_post.1"], progress=False)
    for wrong, says in (
        (lambda: Monitor.calibrate(direction, pooled, fpr=0.5), "pool='none'"),
        (lambda: Monitor.calibrate(direction, acts, fpr=0.01), "10 control texts cannot set"),
        (lambda: Monitor.calibrate(direction, acts, fpr=1.5), "between 0 and 1"),
    ):
        with pytest.raises(lens.DataError, match=says):
            wrong()
    with pytest.raises(lens.ModelError, match="num_beams"):
        monitor(direction, 0.0).watch(model, PROMPTS, num_beams=2)
    stranger = lens.wrap(*tiny.hugging_face("llama", seed=5))
    with pytest.raises(lens.ArtifactError, match="other_model=True"):
        monitor(direction, 0.0).watch(stranger, PROMPTS)
