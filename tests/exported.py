"""Exported files run by other programs' own rules: plain hooks on the modules of a Hugging Face model."""

from contextlib import contextmanager

import torch

import steering
from lens.tokens import encode
from probes import Direction

PROMPT = "the money that she lied about"


def direction(site, *, seed=0, model=None, unit=6.0):
    vector = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    return Direction.from_vector(vector, site, model=model, residual_norm=unit)


def additions(*sites, model=None, span="all"):
    """One for each site, strengths of both signs."""
    strengths = (0.6, -0.9, 0.4, 1.1)
    made = [direction(site, seed=seed, model=model) for seed, site in enumerate(sites)]
    return [steering.Add(one, strength, span=span) for one, strength in zip(made, strengths, strict=False)]


def step(addition):
    """strength · unit · v."""
    return addition.strength * addition.direction.residual_norm * addition.direction.vector


def logits(model, *interventions):
    ids = torch.tensor([encode(model.tokenizer, PROMPT).ids])
    with torch.no_grad(), steering.apply(model, *interventions):
        return model.hf(ids).logits[0]


@contextmanager
def outputs_changed(changes):
    """`changes[module](h)` in place of every module's output."""

    def hook(change):
        def run(module, args, output):
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        return run

    handles = [module.register_forward_hook(hook(change)) for module, change in changes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hooked_logits(model, changes):
    with outputs_changed(changes):
        return logits(model)


def assert_close(found, wanted, plain):
    """To 1e-4 of what steering changes, and it changes something."""
    moved = float((wanted - plain).abs().max())
    assert moved > 0.1
    assert float((found - wanted).abs().max()) < 1e-4 * moved
