"""Latent dynamics: known matrices come back from activations, and what only looks like dynamics is told apart."""

import built
import numpy as np
import pytest
import torch

import lens
import steering
from lens.organisms.constructed import Builder
from probes.direction import Direction

NAMES = ("dynamics", "dynamics-cycle", "dynamics-none", "dynamics-persistent", "dynamics-echo")


def made(name, norm="none"):
    return built.made(name, norm)


def direction(name, unit, norm="none"):
    organism, model = made(name, norm)
    truth = organism.truth.direction(unit)
    return Direction.from_vector(truth.vector, truth.site, model=model)


def series(name, *changes, norm="none", **where):
    """States z and inputs u of all tokens, `[rows, tokens, units]`, as the toolkit reads them."""
    organism, model = made(name, norm)
    units = organism.truth.structure["units"]
    examples = organism.examples.where(**(where or {"impulse": "none"}))
    sites = ["resid_pre.0", "resid_post.3"]
    with steering.apply(model, *changes):
        acts = lens.collect(model, examples, sites=sites, span="prompt", pool="none", progress=False)
    vectors = {unit: organism.truth.direction(unit).tensor for unit in (*units, *(f"{one} input" for one in units))}
    z = acts[sites[1]] @ torch.stack([vectors[unit] for unit in units]).T
    u = acts[sites[0]] @ torch.stack([vectors[f"{unit} input"] for unit in units]).T
    return z.double().numpy(), u.double().numpy()


def regress(target, *parts):
    """Least squares over all tokens: a matrix per part, and the share of variance explained."""
    width = target.shape[-1]
    y, x = target.reshape(-1, width), np.concatenate([part.reshape(-1, width) for part in parts], axis=1)
    solution = np.linalg.lstsq(x, y, rcond=None)[0]
    return np.split(solution.T, len(parts), axis=1), 1 - ((y - x @ solution) ** 2).sum() / (y**2).sum()


@pytest.mark.parametrize("norm", ["none", "rms"])
@pytest.mark.parametrize("back", [1, 2, 4, 8, 13])
def test_a_shift_brings_what_stands_so_many_tokens_before_and_nothing_else(back, norm):
    b = Builder(back)
    b.feature("held", "seen", "also")
    words = [f"w{k}" for k in range(100)]
    for k, word in enumerate(words):
        b.word(word, held=k % 7 - 3.0)
    b.shift(0, back, {"held": {"seen": 1.0, "also": -2.0}})
    hf, tokenizer = b.build(norm)
    with torch.no_grad():
        h = hf.model(tokenizer(" ".join(words), return_tensors="pt").input_ids, output_hidden_states=True)
    seen, also = (h.hidden_states[1][0, 1:] @ b.vector(name).float() for name in ("seen", "also"))
    wanted = torch.tensor([0.0] * back + [k % 7 - 3.0 for k in range(100 - back)])
    exact = 1e-5 if norm == "none" else 0.05
    assert torch.allclose(seen, wanted, atol=exact) and torch.allclose(also, -2 * wanted, atol=2 * exact)


@pytest.mark.parametrize("norm", ["none", "rms"])
@pytest.mark.parametrize("name", ["dynamics", "dynamics-cycle", "dynamics-none"])
def test_a_and_b_are_found_by_least_squares(name, norm):
    z, u = series(name, norm=norm)
    (a, b), explained = regress(z[:, 1:], z[:, :-1], u[:, 1:])
    truth = made(name)[0].truth.structure
    exact = 1e-5 if norm == "none" else 0.03
    assert np.allclose(a, truth["A"], atol=exact) and np.allclose(b, truth["B"], atol=exact)
    assert explained > (1 - 1e-9 if norm == "none" else 0.99)


def test_the_rotation_has_its_eigenvalues_and_the_ring_its_edges():
    z, u = series("dynamics", norm="rms")
    (a, _), _ = regress(z[:, 1:], z[:, :-1], u[:, 1:])
    eigen = np.linalg.eigvals(a)
    assert np.abs(eigen) == pytest.approx([0.85, 0.85], abs=0.02)
    assert sorted(np.angle(eigen, deg=True)) == pytest.approx([-36, 36], abs=1)
    z, u = series("dynamics-cycle", norm="rms")
    (a, _), _ = regress(z[:, 1:], z[:, :-1], u[:, 1:])
    units = made("dynamics-cycle")[0].truth.structure["units"]
    edges = {(units[j], units[i]) for i, j in zip(*np.nonzero(np.abs(a) > 0.1), strict=True)}
    assert edges == {("doubt", "worry"), ("worry", "guilt"), ("guilt", "doubt"), ("joy", "joy")}


def test_lasting_inputs_fool_a_fit_that_leaves_them_out():
    z, u = series("dynamics-persistent")
    (careless,), explained = regress(z[:, 1:], z[:, :-1])
    assert np.diag(careless).min() > 0.4 and explained > 0.3
    (a, b), explained = regress(z[:, 1:], z[:, :-1], u[:, 1:])
    assert np.allclose(a, 0, atol=1e-5) and np.allclose(b, np.eye(2), atol=1e-5) and explained > 1 - 1e-9
    z, _ = series("dynamics-none")
    (a,), explained = regress(z[:, 1:], z[:, :-1])
    assert np.abs(a).max() < 0.25 and explained < 0.1


def test_an_echo_fools_a_fit_with_inputs_and_an_impulse_shows_it():
    z, u = series("dynamics-echo")
    (careless, _), explained = regress(z[:, 1:], z[:, :-1], u[:, 1:])
    assert np.diag(careless).min() > 0.3 and explained < 0.99
    (a, b, c), explained = regress(z[:, 1:], z[:, :-1], u[:, 1:], u[:, :-1])
    assert np.allclose(a, 0, atol=1e-5) and np.allclose(b, np.eye(2), atol=1e-5) and explained > 1 - 1e-9
    assert np.allclose(c, 0.8 * np.eye(2), atol=1e-5)
    z, _ = series("dynamics-echo", impulse="doubt", lag=5)
    assert z[0, -6:, 0] == pytest.approx([1, 0.8, 0, 0, 0, 0], abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_added_input_runs_through_as_the_powers_of_a(name):
    truth = made(name)[0].truth.structure
    a, b, c = (np.array(truth[part]) for part in "ABC")
    source = direction(name, "worry input")
    where = {"impulse": "doubt", "lag": 5, "ask": "doubt"}
    plain, _ = series(name, **where)
    for site, moves in (("resid_pre.0", 1.0), ("resid_post.0", 0.0)):
        pulse = steering.Add(source.at(site), 2.0, span="prompt[-8]", unit="raw")
        moved, _ = series(name, pulse, **where)
        response = [np.linalg.matrix_power(a, k) @ b[:, 1] + (k == 1) * c[:, 1] for k in range(8)]
        assert np.allclose((moved - plain)[0, -8:], 2 * moves * np.array(response), atol=1e-4)
        assert np.allclose((moved - plain)[0, :-8], 0, atol=1e-6)


def test_answers_follow_the_state_for_as_long_as_it_lasts():
    option = steering.measures.option("unsure", "sure")
    lags = (0, 1, 2, 3, 5)
    wanted = {
        "dynamics": [0.85**k * np.cos(np.pi / 5 * k) for k in lags],
        "dynamics-cycle": [1, 0, 0, 0.8**3, 0],
        "dynamics-none": [1, 0, 0, 0, 0],
        "dynamics-echo": [1, 0.8, 0, 0, 0],
    }
    for name, states in wanted.items():
        organism, model = made(name)
        asked = organism.examples.where(impulse="doubt", ask="doubt")
        table = steering.effects(model, asked, option, progress=False)
        measured = dict(zip(asked.frame["lag"], table["value"], strict=True))
        assert [measured[lag] for lag in lags] == pytest.approx(1 / (1 + np.exp(-3 * np.array(states))), abs=1e-5)
