"""steering.apply while text is generated: cached = uncached = batched = alone; afterwards the model is as it was."""

import threading

import pytest
import tiny
import torch
from tiny import TEXTS

import lens
import steering
from lens.generation import generate
from probes import Direction
from steering import Ablate, Add

SITE = "resid_post.1"
NEW = 6


def add(strength=1.0, span="prompt[-1]:", seed=0):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    return Add(Direction.from_vector(vector, SITE, residual_norm=15.0), strength, span=span)


def ids(model, texts, **options):
    return [made.ids for made in generate(model, texts, max_new_tokens=NEW, **options)]


def padded(model, texts=TEXTS):
    batch = lens.tokens.pad(model.rows(texts), range(len(texts)), pad_id=model.pad_id, padding_side="left")
    return {"input_ids": batch.ids, "attention_mask": batch.mask}


def direct(model, texts, **options):
    """`hf.generate` called by the user himself."""
    inputs, end = padded(model, texts), model.tokenizer.eos_token_id
    options |= {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": model.pad_id, "eos_token_id": end}
    with torch.no_grad():
        made = model.hf.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(end)] if end in row else row for row in made]


SPANS = ["prompt[-1]:", "prompt[-1]", "response", "response[0]", "response[2]:", "response[1:3]", "prompt[:2]", "all"]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_steered_text_does_not_depend_on_cache_or_batch(models, family, span):
    model = models(family)
    with steering.apply(model, add(span=span)):
        cached = ids(model, TEXTS)
        assert ids(model, TEXTS, use_cache=False) == cached
        assert ids(model, TEXTS, batch_tokens=1) == cached
        assert [ids(model, [text])[0] for text in TEXTS] == cached


@pytest.mark.parametrize("family", tiny.ALL_FAMILIES)
def test_every_family_steers_the_same_in_all_ways(models, family):
    model, plain = models(family), ids(models(family), TEXTS)
    with steering.apply(model, add()):
        cached = ids(model, TEXTS)
        assert ids(model, TEXTS, use_cache=False) == cached
        assert [ids(model, [text])[0] for text in TEXTS] == cached
        assert direct(model, TEXTS) == cached
        assert direct(model, TEXTS, use_cache=False) == cached
        assert [direct(model, [text])[0] for text in TEXTS] == cached
    assert cached != plain
    assert ids(model, TEXTS) == plain


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("way", ["model.generate", "hf.generate"])
@pytest.mark.parametrize(
    ("span", "steered"),
    [
        ("prompt[-1]:", [3, 4, 5, 6, 7]),
        ("prompt[-1]", [3]),
        ("prompt[:2]", [0, 1]),
        ("response", [4, 5, 6, 7]),
        ("response[0]", [4]),
        ("response[2]:", [6, 7]),
        ("prompt[6]:", []),
        ("all", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_the_span_decides_which_positions_change_while_generating(gpt2, span, steered, way, use_cache):
    """Watch the site behind the intervention: which positions of the 4 prompt and 4 of the new tokens moved?"""
    seen, d = {}, add().direction

    def watch(h):
        for k in range(h.shape[1]):
            place = k if not use_cache or h.shape[1] > 1 else len(seen)
            seen[place] = float(h[0, k] @ d.vector)

    def run():
        seen.clear()
        if way == "model.generate":
            generate(gpt2, TEXTS[:1], max_new_tokens=5, use_cache=use_cache)
        else:
            direct(gpt2, TEXTS[:1], use_cache=use_cache)
        return dict(seen)

    # Set, not added: what a steered position holds then does not depend on which tokens were generated.
    with steering.apply(gpt2, Ablate(d, to=1000.0, span=span)):
        handle = gpt2.attach(lens.Site("resid_post", 1), watch)
        held = run()
        handle.remove()
    assert [place for place in range(8) if abs(held[place] - 1000) < 1] == steered


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_a_direct_forward_call_counts_as_the_prompt(models, family):
    model, vector = models(family), add().direction.vector * 15
    inputs = model.tokenizer(TEXTS[0], return_tensors="pt")

    def last_only(module, args, output):
        h = output[0] if isinstance(output, tuple) else output
        h = torch.cat([h[:, :-1], h[:, -1:] + vector], dim=1)
        return (h, *output[1:]) if isinstance(output, tuple) else h

    with torch.no_grad():
        handle = model.blocks[1].register_forward_hook(last_only)
        wanted = model.hf(**inputs).logits
        handle.remove()
        with steering.apply(model, add()):
            got = model.hf(**inputs).logits
            without_mask = model.hf(inputs.input_ids).logits
    assert torch.allclose(got, wanted, atol=1e-4) and torch.allclose(without_mask, wanted, atol=1e-4)


def test_a_decoding_loop_of_the_users_own_is_followed(gpt2):
    """Prefill, then one token at a time with the cache: as `model.generate`."""
    with steering.apply(gpt2, add()), torch.no_grad():
        wanted = ids(gpt2, TEXTS[:1])[0]
        made, step, past = [], gpt2.tokenizer(TEXTS[0], return_tensors="pt").input_ids, None
        for _ in range(NEW):
            out = gpt2.hf(step, past_key_values=past, use_cache=True)
            past, step = out.past_key_values, out.logits[:, -1:].argmax(dim=-1)
            made.append(int(step))
    assert made == wanted


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_strengths_per_row_follow_their_rows(models, family, options):
    """Rows are sorted by length, padded and multiplied by beams on the way."""
    model, strengths = models(family), [0.0, 1.0, -1.0, 0.5, 2.0]
    with steering.apply(model, add(strengths)):
        together = ids(model, TEXTS, batch_tokens=14, **options)
    for text, strength, made in zip(TEXTS, strengths, together, strict=True):
        with steering.apply(model, add(strength)):
            assert ids(model, [text], **options)[0] == made


def test_negative_response_bounds_are_refused_while_generating(gpt2):
    with steering.apply(gpt2, add(span="response[-1]")), pytest.raises(lens.SpanError, match="not known while text"):
        gpt2.generate(TEXTS[0])


def hooks_on(hf) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in hf.modules())


def test_nothing_is_left_behind_also_after_an_exception(gpt2):
    before, plain = hooks_on(gpt2.hf), ids(gpt2, TEXTS)
    inner, outer = steering.apply(gpt2, add()), steering.apply(gpt2, add(seed=1))
    with pytest.raises(RuntimeError, match="in the block"), outer, inner:
        assert hooks_on(gpt2.hf) > before
        raise RuntimeError("in the block")
    assert hooks_on(gpt2.hf) == before
    assert "generate" not in vars(gpt2.hf)
    assert gpt2.hf.generate.__func__ is type(gpt2.hf).generate
    assert ids(gpt2, TEXTS) == plain


def test_nothing_is_left_behind_after_an_exception_inside_the_model(gpt2):
    before = hooks_on(gpt2.hf)
    with pytest.raises(lens.SpanError), steering.apply(gpt2, add([1.0, 2.0])):
        ids(gpt2, TEXTS)
    assert hooks_on(gpt2.hf) == before and gpt2.layout is None
    assert "generate" not in vars(gpt2.hf)


def test_what_cannot_be_applied_is_refused_before_anything_is_attached(gpt2, llama):
    before = hooks_on(gpt2.hf)
    d = add().direction
    for wrong, error in (
        (Add(d.at("resid_post.7"), 1.0), lens.SiteError),
        (Add(Direction.from_vector(torch.ones(32), SITE), unit="raw"), lens.ArtifactError),
        (Add(Direction.from_vector(torch.ones(64), SITE, model=llama), unit="raw"), lens.ArtifactError),
    ):
        with pytest.raises(error), steering.apply(gpt2, add(), wrong):
            pass
    assert hooks_on(gpt2.hf) == before
    foreign = Add(Direction.from_vector(torch.ones(64), SITE, model=llama), unit="raw")
    with steering.apply(gpt2, foreign, other_model=True):
        assert hooks_on(gpt2.hf) > before


def test_two_models_are_steered_at_once_in_threads(models):
    families = ("gpt2", "llama")
    wanted, got, errors = {}, {}, []
    for family in families:
        with steering.apply(models(family), add()):
            wanted[family] = ids(models(family), TEXTS)

    def work(family):
        try:
            for _ in range(3):
                with steering.apply(models(family), add()):
                    got.setdefault(family, []).append(ids(models(family), TEXTS))
        except Exception as error:  # noqa: BLE001 - a thread's error would go unseen
            errors.append(error)

    threads = [threading.Thread(target=work, args=(family,)) for family in families]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(got[family] == [wanted[family]] * 3 for family in families)


def test_what_is_read_says_what_was_applied_and_a_store_does_not_mix_it(llama, tmp_path):
    one, other = (add(seed=seed).direction for seed in (1, 2))
    plain = lens.collect(llama, TEXTS, progress=False, store=tmp_path / "acts")
    assert plain.source.steered == "" and llama.applied == []
    with steering.apply(llama, steering.Add(one, 1.0)):
        first = lens.collect(llama, TEXTS, progress=False).source.steered
        with steering.apply(llama, steering.Add(other, 1.0)):
            assert lens.collect(llama, TEXTS, progress=False).source.steered.startswith(first + ", Add:")
        with pytest.raises(lens.ArtifactError, match="another collection: its source's steered ''"):
            lens.collect(llama, TEXTS, progress=False, store=tmp_path / "acts")
    assert llama.applied == []
    names = {
        steering.Add(one, 1.0).identifier,
        steering.Add(one, [1.0, 2.0]).identifier,
        steering.Add(other, 1.0).identifier,
    }
    assert len(names) == 3 and first in names
