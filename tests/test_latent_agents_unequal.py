"""Agents with unequal numbers of items: each is held against draws of its own items, which are as noisy as its own."""

import numpy as np
import pytest
import torch
from agents_data import tiny_debate

import lens
from probes.metrics import p_value
from probes.provenance import Provenance
from steering.studies import latent_agents
from steering.studies.latent_agents import nulls
from steering.studies.latent_agents.vectors import AgentVectors

SITE = lens.Site("resid_post", 0)
WIDTH, READ, LEVEL = 16, 4, 0.05


def exchangeable(rng, counts):
    """Responses of a context differ by chance in the dimensions that words read; contexts differ in the others."""
    states = np.zeros((sum(counts), 3, WIDTH))
    states[..., :READ] = rng.standard_normal((sum(counts), 3, READ))
    states[..., READ:] = 3 * rng.standard_normal((sum(counts), 1, WIDTH - READ))
    owner = np.repeat(np.arange(len(counts)), counts)
    made = {SITE: torch.from_numpy(states).float()}
    return AgentVectors(("a", "b", "c"), made, owner, np.ones(len(owner)), {SITE: 1.0}, Provenance())


@pytest.mark.parametrize("counts", [(20, 20, 20), (4, 40, 40)])
def test_the_shuffled_null_keeps_its_level_however_many_items_an_agent_has(counts, llama, monkeypatch):
    """Words that are read off linearly stand for the model, for agents whose responses are the same by chance."""
    rng, runs, read = np.random.default_rng(0), 250, torch.zeros(WIDTH, dtype=torch.float32)
    given = latent_agents.Debate(
        items=lens.Examples(tiny_debate(0).items.frame.iloc[:3].assign(agent=["a", "b", "c"])),
        words={"a": [" fox"], "b": [" money"], "c": [" quick"]},
        speak=tiny_debate(0).speak,
    )

    def linear(model, debate, rows, pushes, **options):
        moved = torch.stack([push.vector for push in pushes]) @ read
        return np.repeat(moved.numpy()[:, None, None], 3, axis=2).astype(float), np.ones((len(pushes), 1))

    monkeypatch.setattr(nulls, "spoken", linear)
    rows, below = {"speak": (given.speak, given.speak)}, []
    for seed in range(runs):
        vectors = exchangeable(rng, counts)
        read[:READ] = torch.from_numpy(rng.standard_normal(READ)).float()
        table = nulls.Null(llama, given, vectors, (1.0, 2.0), 1.0, {SITE: SITE}, False).table(
            "shuffled", 39, seed, rows
        )
        assert (table.groupby("of").size() == 39).all() and set(table["of"]) == {"a", "b", "c"}
        own = [
            latent_agents.area(np.array([0.0, 1.0, 2.0]) * float(one @ read), [0, 1, 2]) for one in vectors.raw(SITE)
        ]
        by = [table.loc[table["of"] == name, "value"].to_numpy(dtype=float) for name in "abc"]
        below.append([p_value(null, float(value)) <= LEVEL for null, value in zip(by, own, strict=True)])
    assert (np.mean(below, axis=0) <= LEVEL + 2.5 * (LEVEL * (1 - LEVEL) / runs) ** 0.5).all()


def test_a_shuffled_vector_is_made_as_the_agents_own_vector_is():
    given = exchangeable(np.random.default_rng(0), (5, 9, 7))
    drawn = nulls.shuffled(given, 1, 4, 3)[SITE]
    chosen = np.random.default_rng([3, 1]).integers(0, 3, size=(4, 9))
    for draw in range(4):
        own = np.zeros(21, dtype=int)
        own[5:14] = chosen[draw]
        torch.testing.assert_close(drawn[draw], given.raw(SITE, own)[1], atol=1e-5, rtol=1e-5)
