"""Clamp, rotation, affine steering, subspaces, erasers and additions that keep the norm: what each formula promises."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_interventions import SITE, direction, stream
from tiny import TEXTS

import lens
import probes
import steering
from lens import ArtifactError
from probes import Direction
from steering import Ablate, Add


def test_adding_at_the_norm_that_was_there_turns_and_does_not_stretch():
    h, d = stream(), direction()
    kept, free = Add(d, 1.5, keep_norm=True)(h), Add(d, 1.5)(h)
    assert torch.allclose(kept.norm(dim=-1), h.norm(dim=-1), rtol=1e-5)
    assert torch.allclose(torch.nn.functional.cosine_similarity(kept, free, dim=-1), torch.ones(3, 5), atol=1e-5)


@given(st.integers(0, 100), st.floats(-3, 3), st.floats(0, 3))
def test_a_clamp_sets_what_is_outside_and_leaves_the_rest_bit_for_bit(seed, low, width):
    h, d = stream(seed), direction(seed)
    clamp = steering.Clamp(d, low=low, high=low + width)
    after = clamp(h)
    before = d.project(h)
    assert torch.allclose(d.project(after), before.clamp(low, low + width), atol=1e-4)
    inside = (before >= low) & (before <= low + width)
    assert torch.equal(after[inside], h[inside])
    across = torch.eye(64) - torch.outer(d.vector, d.vector)
    assert torch.allclose(after @ across, h @ across, atol=1e-4)
    assert torch.allclose(clamp(after), after, atol=1e-5)


def test_a_cap_is_a_clamp_from_above():
    h, d = stream(), direction()
    after = d.project(steering.Clamp(d, high=0.5)(h))
    assert float(after.max()) <= 0.5 + 1e-4 and float(after.min()) == pytest.approx(float(d.project(h).min()), abs=1e-4)


@given(st.integers(0, 100), st.floats(-6, 6))
def test_a_rotation_keeps_the_norm_and_is_undone_by_its_opposite(seed, angle):
    h, a, b = stream(seed), direction(seed), direction(seed + 1000)
    turned = steering.Rotate(a, angle, toward=b)(h)
    assert torch.allclose(turned.norm(dim=-1), h.norm(dim=-1), rtol=1e-4)
    assert torch.allclose(steering.Rotate(a, -angle, toward=b)(turned), h, atol=1e-4)


def test_a_quarter_turn_takes_one_axis_to_the_other_and_leaves_what_is_across():
    eye = torch.eye(64)
    a, b = Direction.from_vector(eye[0], SITE), Direction.from_vector(eye[0] + eye[1], SITE)
    h = stream()
    after = steering.Rotate(a, torch.pi / 2, toward=b)(h)
    assert torch.allclose(after[..., 1], h[..., 0], atol=1e-5) and torch.allclose(after[..., 0], -h[..., 1], atol=1e-5)
    assert torch.equal(after[..., 2:], h[..., 2:])


@pytest.mark.parametrize(("strength", "wanted"), [(0, -0.5), (1, 3.5), (0.5, 1.5), (2, 7.5)])
def test_affine_steering_sets_a_place_between_the_classes_whatever_was_there(strength, wanted):
    h, d = stream(), direction()  # neutral 1.5, difference 4
    after = steering.Affine(d, strength)(h)
    assert torch.allclose(d.project(after), torch.full((3, 5), wanted), atol=1e-4)
    # It is mean-ablation to class 0, then an addition.
    other = Add(d, strength, unit="difference")(Ablate(d, to=-0.5)(h))
    assert torch.allclose(after, other, atol=1e-4)


def test_a_subspace_is_ablated_at_once_also_where_its_directions_overlap():
    h, a = stream(), direction()
    b = Direction.from_vector(a.vector + 0.5 * direction(1).vector, SITE, neutral=-2.0)
    after = steering.AblateSubspace((a, b))(h)
    assert torch.allclose(a.project(after), torch.full((3, 5), 1.5), atol=1e-4)
    assert torch.allclose(b.project(after), torch.full((3, 5), -2.0), atol=1e-4)
    # One after the other does not do it.
    assert not torch.allclose(a.project(Ablate(b)(Ablate(a)(h))), torch.full((3, 5), 1.5), atol=0.1)
    plane = torch.linalg.qr(torch.stack([a.vector, b.vector], dim=1)).Q
    across = torch.eye(64) - plane @ plane.T
    assert torch.allclose(after @ across, h @ across, atol=1e-4)
    assert torch.allclose(steering.AblateSubspace((a, b))(after), after, atol=1e-4)


def test_a_subspace_of_one_is_an_ablation_and_half_of_it_is_half():
    h, d = stream(), direction()
    assert torch.allclose(steering.AblateSubspace((d,), 0.5)(h), Ablate(d, 0.5)(h), atol=1e-5)


NEW = {
    "keep_norm": lambda d, e: Add(d, 0.7, keep_norm=True),
    "clamp": lambda d, e: steering.Clamp(d, 1.0, low=0.2, high=0.4),
    "rotate": lambda d, e: steering.Rotate(d, 0.8, toward=e),
    "affine": lambda d, e: steering.Affine(d, 0.3),
    "subspace": lambda d, e: steering.AblateSubspace((d, e), to="zero"),
}


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_kinds_keep_shape_dtype_and_what_they_are_given(kind, dtype):
    h = stream().to(dtype)
    before = h.clone()
    after = NEW[kind](direction(), direction(1))(h)
    assert after.dtype == dtype and after.shape == h.shape and torch.equal(h, before)
    assert not torch.equal(after, h)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", NEW)
def test_new_kinds_act_where_their_span_says_in_any_padding_and_order(llama, kind, side):
    change = NEW[kind](direction(), direction(1))
    sites = ["resid_post.1", "resid_post.3"]
    plain = lens.collect(llama, TEXTS, sites=sites, span="all", pool="none", progress=False)
    with steering.apply(llama, change):
        steered = lens.collect(llama, TEXTS, sites=sites, span="all", pool="none", padding_side=side, progress=False)
        turned = lens.collect(llama, TEXTS[::-1], sites=sites, span="all", pool="none", progress=False)
    for row, text in enumerate(TEXTS):
        last = len(llama.tokenizer(text).input_ids) - 1
        h, g = plain["resid_post.1"][row], steered["resid_post.1"][row]
        assert torch.allclose(g[last], change(h[last]), atol=1e-4)
        assert torch.allclose(g[:last], h[:last], atol=1e-5)
        width = min(steered["resid_post.3"].shape[1], turned["resid_post.3"].shape[1])
        back = turned["resid_post.3"][len(TEXTS) - 1 - row]
        assert torch.allclose(back[: last + 1], steered["resid_post.3"][row][: last + 1], atol=1e-4) and width > last


@pytest.mark.parametrize("kind", NEW)
def test_a_strength_of_each_row_is_that_row_alone(kind):
    h, strengths = stream(), torch.tensor([0.0, 0.5, 1.0])
    many = replace(NEW[kind](direction(), direction(1)), strength=strengths)(h)
    for row, strength in enumerate(strengths.tolist()):
        alone = replace(NEW[kind](direction(), direction(1)), strength=strength)(h[row : row + 1])
        assert torch.allclose(many[row], alone[0], atol=1e-5)


def test_an_eraser_erases_as_the_model_runs(llama):
    texts = [f"{text}{' fox' * extra}" for extra in range(6) for text in TEXTS]
    topics = [number % 2 for number in range(len(texts))]
    table = lens.Examples(pd.DataFrame({"prompt": texts, "topic": topics}))
    acts = lens.collect(llama, table, sites=[SITE], progress=False)
    eraser = probes.erase(acts, SITE, by="topic")
    with steering.apply(llama, steering.Erase(eraser, span="prompt[-1]")):
        erased = lens.collect(llama, table, sites=[SITE], progress=False)
    assert torch.allclose(erased[SITE], eraser(acts[SITE]), atol=1e-4)
    means = [erased[SITE][[k for k, topic in enumerate(topics) if topic == one]].mean(dim=0) for one in (0, 1)]
    assert (
        float((means[0] - means[1]).norm()) < 1e-3 < float((acts[SITE][::2].mean(0) - acts[SITE][1::2].mean(0)).norm())
    )


@pytest.fixture
def eraser():
    """It takes one direction out, from around a mean that is not 0."""
    d = direction().vector.double()
    mean, means = torch.ones(64).double(), torch.stack([torch.zeros(64), d]).double()
    return probes.Eraser(lens.Site("resid_post", 1), d[:, None], d[:, None], mean, "topic", (0, 1), means, 1.0)


def test_an_eraser_goes_as_far_as_its_strength(eraser):
    h, strengths = stream(), torch.tensor([0.0, 0.5, 1.0])
    many = steering.Erase(eraser, strengths)(h)
    assert torch.allclose(many, h + strengths[:, None, None] * (eraser(h) - h), atol=1e-5)
    assert not torch.allclose(many[1], many[2] + h[1] - h[2], atol=0.1)


def test_an_eraser_is_for_its_own_model_and_width(llama, eraser):
    known = probes.Provenance(model="other", fingerprint="another")
    parts = {name: getattr(eraser, name)[:32] for name in ("removed", "reading", "mean")}
    narrow = replace(eraser, **parts, class_means=eraser.class_means[:, :32])
    for made, message in ((replace(eraser, provenance=known), "fitted on 'other'"), (narrow, "width 32")):
        with pytest.raises(ArtifactError, match=message), steering.apply(llama, steering.Erase(made)):
            pass


def test_a_subspace_is_for_its_own_model(llama):
    stranger = replace(direction(1), provenance=probes.Provenance(model="other", fingerprint="another"))
    change = steering.AblateSubspace((direction(), stranger), to="zero")
    with pytest.raises(ArtifactError, match="fitted on 'other'"), steering.apply(llama, change):
        pass


def test_what_it_is_made_of_makes_another_of_it(eraser):
    d, e, f = (direction(seed) for seed in range(3))
    pairs = [
        (steering.Rotate(d, 0.8, toward=e), steering.Rotate(d, 0.8, toward=f)),
        (steering.AblateSubspace((d, e), to="zero"), steering.AblateSubspace((d, f), to="zero")),
        (steering.Clamp(d, high=1.0), steering.Clamp(e, high=1.0)),
        (steering.Clamp(d, high=1.0), steering.Clamp(d, high=2.0)),
        (steering.Erase(eraser), steering.Erase(replace(eraser, mean=2 * eraser.mean))),
    ]
    for one, other in pairs:
        assert one.identifier != other.identifier
        assert one.identifier == replace(one).identifier


def test_a_floor_is_a_clamp_from_below():
    h, d = stream(), direction()
    after = d.project(steering.Clamp(d, low=0.5)(h))
    assert float(after.min()) >= 0.5 - 1e-4 and float(after.max()) == pytest.approx(float(d.project(h).max()), abs=1e-4)


def test_where_an_addition_leaves_nothing_there_is_no_norm_to_give_back():
    d = direction()
    gone = Add(d, -1.0, unit="raw", keep_norm=True)(d.vector[None].clone())
    assert gone.isfinite().all()


def test_what_cannot_be_is_refused():
    d, bare = direction(), Direction.from_vector(torch.ones(64), SITE)
    narrow = Direction.from_vector(torch.ones(32), SITE)
    elsewhere = Direction.from_vector(torch.ones(64), "resid_post.2")
    cases = [
        (lambda: Add(d, float("nan")), "strength is finite"),
        (lambda: Add(d, [0.1, float("inf")]), "strength is finite"),
        (lambda: steering.Clamp(d), "needs a bound"),
        (lambda: steering.Clamp(d, low=2.0, high=1.0), "low at most high"),
        (lambda: steering.Clamp(d, low=float("nan"), high=1.0), "low at most high"),
        (lambda: steering.Rotate(d, 1.0), "toward=.*needs a Direction; given: NoneType"),
        (lambda: steering.Rotate(d, 1.0, toward=-1 * d), "span no plane"),
        (lambda: steering.Rotate(d, 1.0, toward=narrow), "64 and 32"),
        (lambda: steering.Affine(bare), "does not know its classes' means"),
        (lambda: steering.Affine(replace(d, neutral=float("nan"))), "does not know its classes' means"),
        (lambda: steering.Affine(replace(d, difference=float("nan"))), "does not know its classes' means"),
        (lambda: steering.Affine(d, sites=(lens.Site("resid_post", 2),)), "known at resid_post.1 only"),
        (lambda: steering.AblateSubspace(()), "at least one Direction"),
        (lambda: steering.AblateSubspace((d, elsewhere), to="zero"), "one site and one width"),
        (lambda: steering.AblateSubspace((d, 2 * d), to="zero"), "the others span"),
        (lambda: steering.AblateSubspace((d, bare)), "does not know its neutral value"),
    ]
    for make, message in cases:
        with pytest.raises(ArtifactError, match=message):
            make()
