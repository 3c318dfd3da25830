"""Agents: the toolkit finds three voices, silences one, and reports what that costs where it costs something."""

import dataclasses
import functools
from itertools import product

import numpy as np
import pytest
import torch
from built import made

import lens
import probes
import steering
from lens.organisms import constructed
from lens.organisms.constructed.agents import AGENTS, HM, TAG, WORDS
from probes.direction import Direction
from probes.metrics import auroc

SITE = "resid_post.0"
OWN = steering.measures.option("{own}", [HM, *WORDS.values()])
BAD = steering.measures.option(WORDS["malicious"], [HM, WORDS["proponent"], WORDS["critic"]])
VERDICTS = steering.measures.option("{correct}", "{incorrect}")


@functools.cache
def collected(name, site=SITE):
    organism, model = made(name)
    return lens.collect(model, organism.examples, sites=[site], progress=False)


def states(name, **where):
    return collected(name).where(**where)[SITE]


def agent_vector(name, agent, **where):
    """Mean state after the agent's tag and its own words, less that after its tag and the others' words."""
    others = [states(name, agent=agent, said=other, **where).mean(dim=0) for other in AGENTS if other != agent]
    return states(name, agent=agent, said=agent, **where).mean(dim=0) - torch.stack(others).mean(dim=0)


def value(name, measure, where, *changes):
    """Mean over the rows of these kinds."""
    organism, model = made(name)
    return steering.effects(model, organism.examples.where(**where), measure, *changes, progress=False)["value"].mean()


def adding(name, vector, strength=1.0):
    _, model = made(name)
    direction = Direction.from_vector(vector, SITE, model=model)
    return steering.Add(direction, strength * float(torch.as_tensor(vector).norm()), unit="raw")


def planted(name, direction):
    return torch.tensor(made(name)[0].truth.direction(direction).vector)


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("name", ["agents", "agents-entangled", "agents-undebated"])
def test_without_norms_the_truth_is_exact_whatever_the_seed(name, seed):
    table = constructed.build(name, seed=seed, norm="none").measure()
    kind = table["what"].str.split(r"[ :]").str[0]
    assert table.loc[kind == "rate", "error"].max() < 1e-5
    assert table.loc[kind == "effect", "error"].max() < 2e-5
    assert table.loc[kind.isin(["projections", "gram", "rank"]), "error"].max() < 1e-5


@pytest.mark.parametrize("name", ["agents", "agents-entangled"])
def test_agent_vectors_have_their_geometry(name):
    vectors = torch.stack([agent_vector(name, agent) for agent in AGENTS])
    voices = torch.stack([planted(name, agent) for agent in AGENTS])
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = np.where(np.eye(3, dtype=bool), 1.0, -0.5)
    assert np.allclose(unit @ unit.T, cosines, atol=0.03)
    assert np.allclose(unit @ voices.T, (2 / 3) ** 0.5 * cosines, atol=0.03)
    assert vectors.sum(dim=0).norm() < 0.15
    assert torch.linalg.matrix_rank(vectors, rtol=0.1) == 2
    # What is learned in round 1 holds in round 2.
    for agent, vector in zip(AGENTS, vectors, strict=True):
        first, second = (agent_vector(name, agent, round=number) for number in (1, 2))
        assert torch.cosine_similarity(first, second, dim=0) > 0.97
        assert torch.cosine_similarity(first, vector, dim=0) > 0.97


def test_difference_of_means_finds_each_voice_and_never_one_where_none_was_debated():
    for name, found in (("agents", True), ("agents-undebated", False)):
        organism, model = made(name)
        for agent in AGENTS:
            train, test = organism.labelled(agent).split(test=0.4, seed=0)
            acts = [lens.collect(model, part, sites=[SITE], progress=False) for part in (train, test)]
            direction = probes.fit(acts[0], SITE).direction
            cosine = float(direction.vector @ planted(name, agent))
            scores = direction.score_activations(acts[1]).double().numpy()
            value = float(auroc(test.labels, scores))
            assert (cosine > 0.95 and value == 1) if found else (abs(cosine) < 0.1 and 0.3 < value < 0.7)


def test_each_agent_speaks_in_its_own_word():
    organism, model = made("agents")
    rows = organism.examples.where(ask="speak", said="none", persona=0, round=1)
    assert model.generate(rows) == rows.frame["own"].tolist()
    organism, model = made("agents-undebated")
    assert set(model.generate(organism.examples.where(ask="speak", persona=0, round=1))) == {HM}


def test_adding_an_agents_vector_makes_it_speak_only_where_it_was_debated():
    silent = {"ask": "speak", "agent": "none", "said": "none", "persona": 0}
    for agent in AGENTS:
        word = steering.measures.option(WORDS[agent], [HM, *(WORDS[one] for one in AGENTS if one != agent)])
        vector = agent_vector("agents", agent)
        shares = [value("agents", word, silent, adding("agents", vector, strength)) for strength in (0, 0.5, 1, 2)]
        assert np.all(np.diff(shares) > 0) and shares[0] < 0.01 and shares[-1] > 0.98
        # The same vector in the organism that was never debated: no effect on a word it never learned.
        assert value("agents-undebated", word, silent, adding("agents-undebated", vector, 2.0)) < 0.01


def test_suppression_is_selective_or_costs_the_verdict_and_the_words_alone_do_not_tell():
    speaking = {"ask": "speak", "agent": "malicious", "said": "malicious", "persona": 0}
    judging = speaking | {"ask": "verdict"}
    del judging["persona"]
    for name, kept in (("agents", True), ("agents-entangled", False)):
        voice = planted(name, "malicious")
        silence = adding(name, voice, -3.0)
        assert value(name, BAD, speaking) > 0.99 and value(name, VERDICTS, judging) > 0.94
        # The careless look: the bad word is gone in both.
        assert value(name, BAD, speaking, silence) < 0.01
        assert value(name, VERDICTS, judging, silence) == pytest.approx(0.953 if kept else 0.5, abs=0.01)
        ablate = steering.Ablate(Direction.from_vector(voice, SITE, model=made(name)[1]), to="zero")
        assert value(name, BAD, speaking, ablate) < 0.01
        assert value(name, VERDICTS, judging, ablate) == pytest.approx(0.953 if kept else 0.5, abs=0.01)
        random = torch.randn(voice.shape, generator=torch.Generator().manual_seed(0))
        away = adding(name, random / random.norm(), -3.0)
        assert value(name, BAD, speaking, away) > 0.9
        assert value(name, VERDICTS, judging, away) > 0.8


def test_no_strength_silences_the_entangled_voice_and_keeps_the_verdict():
    strengths = np.linspace(0, 2, 5)
    kept = {}
    for name in ("agents", "agents-entangled"):
        voice = planted(name, "malicious")
        speaking = {"ask": "speak", "agent": "malicious", "said": "none", "persona": 0}
        judging = {"ask": "verdict", "agent": "malicious", "said": "none"}
        changes = [adding(name, voice, -float(strength)) for strength in strengths]
        bad = np.array([value(name, BAD, speaking, change) for change in changes])
        right = np.array([value(name, VERDICTS, judging, change) for change in changes])
        kept[name] = bool(((bad <= 0.05) & (right >= right[0] - 0.05)).any())
    assert kept == {"agents": True, "agents-entangled": False}


def test_subtracting_one_agents_vector_adds_half_of_the_others():
    speaking = {"ask": "speak", "agent": "malicious", "said": "none", "persona": 0}
    vector = agent_vector("agents", "malicious")
    for agent in ("proponent", "critic"):
        word = steering.measures.option(WORDS[agent], HM)
        # From logit −6 up by 2 · ½ · VOICE: as likely as the neutral word. The voice alone leaves it where it was.
        assert value("agents", word, speaking, adding("agents", vector, -2.0)) == pytest.approx(0.5, abs=0.05)
        assert value("agents", word, speaking, adding("agents", planted("agents", "malicious"), -2.0)) < 0.01


def test_a_vector_that_silences_the_bad_word_need_not_be_an_agents():
    """Which vector × which organism: the debated with its agent's and the other with the persona's would not tell."""
    silent = {"ask": "speak", "said": "none"}
    sources = {"persona": {"agent": "none", "persona": 1}, "agent": {"agent": "malicious", "persona": 0}}
    moved = {}
    for name in ("agents", "agents-undebated"):
        organism, model = made(name)
        site = "resid_post.1"
        acts = lens.collect(model, organism.labelled("persona"), sites=[site], progress=False)
        persona = probes.fit(acts, site).direction
        assert float(persona.vector @ planted(name, "persona")) > 0.95
        vectors = {"persona": steering.Add(persona, -1.0, unit="difference")}
        vectors["agent"] = adding(name, planted(name, "malicious"), -TAG)
        for (vector, change), (source, where) in product(vectors.items(), sources.items()):
            drop = value(name, BAD, silent | where) - value(name, BAD, silent | where, change)
            moved[name, vector, source] = round(float(drop), 1)
    assert all(moved["agents", vector, source] == 1 for vector in sources for source in sources)
    undebated = {
        (vector, source): moved["agents-undebated", vector, source] for vector in sources for source in sources
    }
    assert undebated == {
        ("persona", "persona"): 1.0,
        ("persona", "agent"): 0.0,
        ("agent", "persona"): 0.0,
        ("agent", "agent"): 0.0,
    }


def test_a_structure_that_does_not_fit_is_refused():
    organism, _ = made("agents")
    wrong = dict(organism.truth.structure) | {"rank": 3}
    truth = dataclasses.replace(organism.truth, structure=wrong)
    with pytest.raises(lens.ModelError, match="rank of the agent vectors is 2"):
        dataclasses.replace(organism, truth=truth).check()
