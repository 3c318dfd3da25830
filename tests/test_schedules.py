"""A strength for each site, and patches: what each site gets, and what goes with the rows."""

import pytest
import torch
from tiny import TEXTS

import lens
import steering
from lens import ArtifactError, SiteError, SpanError
from probes import Direction
from steering import Ablate, Add, Patch

SITES = ("resid_post.0", "resid_post.2")


def vector(seed=0, site=SITES[0]):
    return Direction.from_vector(
        torch.randn(64, generator=torch.Generator().manual_seed(seed)), site, residual_norm=15.0
    )


def logits(model, texts=TEXTS):
    batch = lens.tokens.pad(model.rows(texts), range(len(texts)), pad_id=model.pad_id, padding_side="left")
    return model.next_token_logits(batch)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_strength_for_each_site_is_an_intervention_at_each(models, family):
    model, per_row = models(family), torch.linspace(-1, 1, len(TEXTS))
    schedule = Add(vector(), {SITES[0]: 0.5, SITES[1]: per_row})
    apart = [Add(vector(), 0.5, sites=[lens.Site("resid_post", 0)]), Add(vector(), per_row, sites=(SITES[1],))]
    with steering.apply(model, *apart):
        wanted = logits(model)
    with steering.apply(model, schedule):
        assert torch.equal(logits(model), wanted)
    assert not torch.allclose(wanted, logits(model))


def test_a_schedule_is_asked_site_by_site(gpt2):
    schedule, h = Add(vector(), {SITES[0]: 0.5, SITES[1]: 2.0}), torch.zeros(2, 64)
    first, second = (lens.Site.parse(site) for site in SITES)
    assert torch.allclose(schedule.at_site(first)(h) * 4, schedule.at_site(second)(h))
    with pytest.raises(SiteError, match=r"A strength for each of resid_post.0, resid_post.2"):
        schedule(h)
    with pytest.raises(SiteError, match="give either sites= and one strength for all, or a strength for each site"):
        Add(vector(), {SITES[0]: 0.5}, sites=(SITES[1],))
    with pytest.raises(SiteError, match="names every layer"):
        Add(vector(), {"resid_post": 0.5})
    with pytest.raises(SiteError, match="give either"):
        Add(vector(), {})
    with pytest.raises(ArtifactError, match="A strength is finite"):
        Add(vector(), {SITES[0]: float("nan")})
    with pytest.raises(ArtifactError, match=r"The neutral value is known at resid_post\.0 only"):
        Ablate(Direction.from_vector(torch.ones(64), SITES[0], neutral=1.0), dict.fromkeys(SITES, 1.0))
    with (
        pytest.raises(SiteError, match="block"),
        steering.apply(gpt2, Add(vector(), {"resid_post.9": 1.0})),
    ):
        pass
    names = {Add(vector(), {SITES[0]: a, SITES[1]: b}).identifier for a, b in ((0, 1), (1, 0), (1, 1))}
    assert len(names) == 3


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_the_whole_stream_of_another_text_gives_that_text_s_answer(models, family):
    """At the last token, after the last block: what is put there decides alone."""
    model = models(family)
    last = f"resid_post.{model.n_layers - 1}"
    acts = lens.collect(model, TEXTS, sites=[last], span="prompt[-1]", progress=False)
    turned = [*TEXTS[1:], TEXTS[0]]
    with steering.apply(model, Patch.of(acts, last)):
        found = logits(model, turned)
    assert torch.allclose(found, logits(model), atol=1e-4 * float(found.abs().max()))
    with (
        pytest.raises(SpanError, match="1 values were given for 5 rows; give one per row, or one for all"),
        steering.apply(model, Patch.of(acts.select([2]), last, span="all")),
    ):
        logits(model)


def test_a_patch_with_what_was_there_changes_nothing_and_half_a_patch_is_half_way(gpt2):
    site = "resid_post.1"
    acts = lens.collect(gpt2, TEXTS, sites=[site], span="prompt[-1]", progress=False)
    plain = logits(gpt2)
    with steering.apply(gpt2, Patch.of(acts, site)):
        assert torch.allclose(logits(gpt2), plain, atol=1e-5)
    h, x = torch.randn(3, 64), torch.randn(64)
    assert torch.equal(Patch(x, sites=(site,))(h), x.expand(3, 64))
    assert torch.equal(Patch(x, 0.0, sites=(site,))(h), h)
    assert torch.allclose(Patch(x, 0.5, sites=(site,))(h), (h + x) / 2, atol=1e-6)
    mixed = Patch(torch.stack([x, -x, x]), torch.tensor([1.0, 0.0, 0.5]), sites=(site,))(h)
    assert torch.allclose(mixed, torch.stack([x, h[1], (h[2] + x) / 2]), atol=1e-6)


def test_rows_keep_their_patch_through_batches(gpt2):
    site = "resid_post.1"
    acts = lens.collect(gpt2, [*TEXTS[1:], TEXTS[0]], sites=[site], span="prompt[-1]", progress=False)
    measure = steering.measures.option(" yes", " no")
    examples = lens.Examples.from_texts(TEXTS)
    alone = [
        steering.effects(gpt2, examples.select([k]), measure, Patch.of(acts.select([k]), site), progress=False)
        for k in range(len(TEXTS))
    ]
    together = steering.effects(gpt2, examples, measure, Patch.of(acts, site), batch_tokens=12, progress=False)
    assert together["value"].tolist() == pytest.approx([float(one["value"].iloc[0]) for one in alone], abs=1e-5)


def test_the_mean_of_other_rows_is_one_patch_for_all(gpt2):
    site = "resid_post.1"
    acts = lens.collect(gpt2, TEXTS, sites=[site], span="prompt[-1]", progress=False)
    patch = Patch.mean(acts, site)
    assert torch.allclose(patch.values, acts[site].mean(dim=0), atol=1e-5)
    with steering.apply(gpt2, patch):
        seen = lens.collect(gpt2, TEXTS, sites=[site], span="prompt[-1]", progress=False)[site]
    assert torch.allclose(seen, patch.values.expand_as(seen), atol=1e-5)


def test_what_cannot_be_patched_is_said(gpt2, llama):
    site = "resid_post.1"
    with pytest.raises(SiteError, match="Patch needs sites="):
        Patch(torch.ones(64))
    with pytest.raises(ArtifactError, match=r"finite values .* given: shape \[2, 3, 64\]"):
        Patch(torch.ones(2, 3, 64), sites=(site,))
    with pytest.raises(ArtifactError, match="finite values"):
        Patch(torch.full((64,), torch.nan), sites=(site,))
    loose = lens.collect(gpt2, TEXTS, sites=[site], span="prompt", pool="none", progress=False)
    with pytest.raises(SiteError, match="unpooled"):
        Patch.of(loose, site)
    acts = lens.collect(gpt2, TEXTS, sites=[site], span="prompt[-1]", progress=False)
    for patch, message in (
        (Patch.of(acts, site), "The patch was fitted on 'gpt2'"),
        (Patch(torch.ones(8), sites=(site,)), "width 8"),
    ):
        with pytest.raises(ArtifactError, match=message), steering.apply(llama, patch):
            pass
