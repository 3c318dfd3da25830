"""The parts of the study of latent agents: vectors, doses, nulls, ROUGE, written text, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from agents_data import debate, tiny_debate
from built import made

import lens
from lens import DataError
from probes.provenance import Provenance
from steering.studies import latent_agents
from steering.studies.answered import Push, answered
from steering.studies.ask import ask
from steering.studies.latent_agents.debate import part
from steering.studies.latent_agents.doses import enough
from steering.studies.latent_agents.nulls import random as random_draws
from steering.studies.latent_agents.nulls import shuffled as shuffled_draws
from steering.studies.latent_agents.vectors import AgentVectors
from steering.studies.pieces import Pieces
from steering.studies.steps import Steps

SITE = lens.Site("resid_post", 1)


def vectors(count: int, *, width: int = 16, items: int = 3, noise: float = 0.0, seed: int = 0) -> AgentVectors:
    """Agents whose states after their own words are orthonormal vectors, in every context alike."""
    rng = np.random.default_rng(seed)
    said = torch.from_numpy(np.linalg.qr(rng.standard_normal((width, width)))[0][:count]).float()
    states, owner = [], []
    for agent in range(count):
        order = [agent, *(other for other in range(count) if other != agent)]
        for _ in range(items):
            context = torch.from_numpy(rng.standard_normal(width)).float() * noise
            states.append(said[order] + context)
            owner.append(agent)
    rounds = np.tile(np.arange(items) % 2 + 1, count)
    agents = tuple(f"agent {number}" for number in range(count))
    return AgentVectors(agents, {SITE: torch.stack(states)}, np.array(owner), rounds, {SITE: 10.0}, Provenance())


def said_by(given: AgentVectors) -> torch.Tensor:
    return torch.stack([given.states[SITE][given.owner == k][0, 0] for k in range(len(given.agents))]).double()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_vectors_of_orthonormal_agents_lie_as_they_must(count):
    """v_i = s_i − mean of the others: ‖v‖² = n/(n − 1), v_i · v_j = −n/(n − 1)²."""
    given = vectors(count)
    raw = given.raw(SITE).double()
    assert float(raw.sum(dim=0).norm()) < 1e-6
    gram, size = given.gram(SITE).to_numpy(), count / (count - 1)
    expected = np.full((count, count), -size / (count - 1))
    np.fill_diagonal(expected, size)
    np.testing.assert_allclose(gram, expected, atol=1e-6)
    cosines = (raw / raw.norm(dim=1, keepdim=True) @ said_by(given).T).diagonal()
    np.testing.assert_allclose(cosines, np.sqrt((count - 1) / count), atol=1e-6)
    np.testing.assert_allclose(given.cosines(SITE).to_numpy()[0, 1], -1 / (count - 1), atol=1e-6)
    row = given.diagnostics().iloc[0]
    assert row["rank"] == count - 1 and row["sum_norm"] < 1e-7 and row["n"] == 3 * count
    assert row["across_rounds"] == pytest.approx(1, abs=1e-6)


def test_contexts_cancel_and_unit_vectors_know_their_length():
    given = vectors(3, noise=5.0)
    np.testing.assert_allclose(given.raw(SITE), vectors(3).raw(SITE), atol=1e-4)
    found = given.directions(SITE)
    assert set(found) == set(given.agents)
    for one in found.values():
        assert float(one.vector.norm()) == pytest.approx(1, abs=1e-6)
        assert one.difference == pytest.approx(1.5**0.5, abs=1e-4) and one.residual_norm == 10 and one.site == SITE
    offset = given.directions(SITE, paper_offset=True)["agent 0"]
    assert str(offset.site) == "resid_pre.1" and torch.equal(offset.vector, found["agent 0"].vector)
    nothing = replace(given, states={SITE: torch.ones(9, 3, 16)})
    assert nothing.directions(SITE) == {} and nothing.diagnostics()["rank"].iloc[0] == 0


def test_vectors_of_the_organism_are_as_its_truth_says():
    organism, model = made("agents")
    found = latent_agents.agent_vectors(model, debate().items, sites=["resid_post.0"], progress=False)
    site, truth = found.sites[0], organism.truth.structure
    order = [found.agents.index(agent) for agent in truth["agents"]]
    np.testing.assert_allclose(found.gram(site).to_numpy()[np.ix_(order, order)], truth["gram"], atol=0.1)
    for agent, one in found.directions(site).items():
        voice = organism.truth.direction(agent).tensor
        assert float(one.vector @ voice) == pytest.approx((2 / 3) ** 0.5, abs=0.01)
        assert one.provenance.fingerprint == model.fingerprint
    assert found.diagnostics()["across_rounds"].iloc[0] > 0.999


def test_nulls_are_made_as_they_say():
    given = vectors(3, noise=1.0, items=20)
    shuffled = torch.cat([shuffled_draws(given, agent, 70, 0)[SITE] for agent in range(3)]).double()
    # Which response is the agent's own is drawn: within an agent's items, the mean of n draws.
    expected = (2 / 3 * 1.5**2 / 20) ** 0.5
    assert shuffled.norm(dim=1).square().mean().sqrt() == pytest.approx(expected, rel=0.1)
    said = said_by(vectors(3))
    span = torch.linalg.svd(said - said.mean(dim=0))[2][:2]
    assert float((shuffled - shuffled @ span.T @ span).norm()) < 1e-4
    random = random_draws(given, 50, 0)[SITE].double()
    np.testing.assert_allclose(random.norm(dim=1), 1.5**0.5, atol=1e-4)
    assert float((random @ span.T).norm(dim=1).mean()) < 0.9 * 1.5**0.5
    assert not torch.equal(random_draws(given, 50, 1)[SITE], random.float())
    flat = random_draws(vectors(3), 50, 0)[SITE]
    assert float(flat.norm(dim=1).min()) == pytest.approx(1.5**0.5, abs=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize(
    "options, rows", [([" fox", " money"], 2048), ([" fox", " quick money"], 2048), ([" fox", " quick money"], 3)]
)
def test_many_pushes_at_once_are_as_one_by_one(models, family, options, rows, monkeypatch):
    monkeypatch.setattr("steering.studies.answered.ROWS", rows)
    model = models(family)
    prompts = ["the quick brown", "she", "the money that she lied about was"]
    generator = torch.Generator().manual_seed(0)
    pushes = [
        Push(lens.Site(kind, layer), 3 * torch.randn(64, generator=generator))
        for kind, layer in (("resid_post", 1), ("resid_pre", 0), ("resid_post", 3), ("resid_post", 1))
    ]
    found = answered(model, prompts, [options] * 3, pushes, progress=False)
    plain = ask(model, prompts, options, progress=False).log_p
    for number, one in enumerate(pushes):
        alone = ask(model, prompts, options, Steps(one.vector[None], sites=(one.site,)), progress=False)
        np.testing.assert_allclose(found[number], alone.log_p, atol=2e-4)
        assert abs(found[number] - plain).max() > 1e-2
    still = answered(model, prompts, [options] * 3, [Push(SITE, torch.zeros(64))], progress=False)
    np.testing.assert_allclose(still[0], plain, atol=2e-4)


def test_areas_selectivity_and_the_smallest_strength_that_is_enough():
    assert latent_agents.area(np.array([0.0, 1.0, 1.0]), [0, 1, 3]) == pytest.approx(2.5 / 3)
    np.testing.assert_allclose(latent_agents.area(np.array([[2.0, 2.0], [0.0, 4.0]]), [-1, 1]), [2.0, 2.0])
    with pytest.raises(DataError, match="two ascending strengths"):
        latent_agents.area(np.array([1.0, 2.0]), [1, 0])
    doses = pd.DataFrame({"strength": [0.0, -0.5, -1.0, -2.0], "trait": [0.9, 0.5, 0.08, 0.02]})
    cheap = doses.assign(capability=[0.9, 0.9, 0.88, 0.5])
    table, best = latent_agents.suppression_report(cheap)
    assert best == -1.0 and enough(cheap, low=0.1) == -1.0 and enough(cheap, low=0.01) == -2.0
    np.testing.assert_allclose(table["selectivity"], [np.nan, np.nan, 41.0, 2.2])
    dear = doses.assign(capability=[0.9, 0.9, 0.8, 0.5])
    assert latent_agents.suppression_report(dear)[1] is None and enough(dear, low=0.1) == -1.0
    assert latent_agents.suppression_report(dear, loss=0.11)[1] == -1.0
    with pytest.raises(DataError, match="strength 0"):
        latent_agents.suppression_report(cheap[1:])


def test_rouge_counts_what_both_texts_hold():
    text, reference = "The cat was found under the bed.", "the cat was under the bed"
    found = latent_agents.rouge(text, reference)
    assert found == pytest.approx({"rouge1": 12 / 13, "rouge2": 8 / 11, "rougeL": 12 / 13})
    # Order counts for the longest common subsequence alone; counts are clipped.
    assert latent_agents.rouge_l("bed the under", "the under bed") == pytest.approx(2 / 3)
    assert latent_agents.rouge_n("the the the", "the cat") == pytest.approx(2 / 5)
    assert latent_agents.rouge_n("a b", "c d") == 0 and np.isnan(latent_agents.rouge_n("one", "two three", 2))
    with pytest.raises(DataError, match="n=0"):
        latent_agents.rouge_n("a", "b", 0)


def test_written_text_is_scored_and_what_is_cut_off_is_counted(llama):
    given = tiny_debate(0, bad=False)
    result = latent_agents.run(llama, given, sites=["resid_post.1"], draws=40, generate=2, progress=False)
    table = result.tables["texts"]
    # Two agents, its vector or a random one, five strengths, six held-out contexts; it never ends by itself.
    assert len(table) == 2 * 2 * 5 * 6 and table["missing"].all() and table["rouge1"].isna().all()
    assert any("120 of 120 texts were empty or cut off" in note for note in result.notes)


def test_what_is_written_under_a_vector_is_what_the_agent_said():
    """Nobody is called; what each agent said is its word."""
    _, model = made("agents")
    words = {"critic": "however", "malicious": "sabotage", "proponent": "indeed"}
    frame = debate().items.frame
    prompts = [one.rsplit(" ", 2)[0] + " nobody : well . speak ?" for one in frame["prompt"]]
    spoken = lens.Examples(frame.assign(prompt=prompts, positive=frame["agent"].map(words)))
    options = {"low": 0.1, "loss": 0.05, "paper_offset": False, "generate": 4, "seed": 0, "progress": False}
    study = latent_agents.Study(
        model,
        replace(debate(), items=spoken),
        places=["resid_post.0"],
        span="response[-1]",
        strengths=(1.0, 2.0),
        draws=120,
        **options,
    )
    fitted = latent_agents.agent_vectors(model, debate().items, sites=["resid_post.0"], progress=False)
    study.__dict__["vectors"] = fitted
    written = latent_agents.told.texts(study, dict.fromkeys(words, "resid_post.0"))
    assert not written["missing"].any()
    at = written.set_index(["agent", "arm", "strength"])["rouge1"].sort_index()
    areas = latent_agents.told.text_areas(study, written).set_index(["agent", "arm", "score"])["value"]
    for agent in words:
        assert (at[agent, "vector", 2.0] == 1).all() and (at[agent, "vector", 0.0] == 0).all()
        assert areas[agent, "vector", "rouge1"] > areas[agent, "random", "rouge1"] + 0.2


def test_what_is_chosen_and_what_is_reported_share_no_group_and_no_round():
    given = debate()
    held = given.held(0)
    assert held != given.held(1) and len(held) == 7
    for name in ("items", "speak", "trait", "answers", "system"):
        fitted, tested = (part(getattr(given, name), held, test=test) for test in (False, True))
        assert not set(fitted.groups) & held and set(tested.groups) == held
        assert set(fitted.frame["round"]) == {1} and set(tested.frame["round"]) == {2}
    one_round = given.speak.where(round=2)
    assert set(part(one_round, held, test=False).frame["round"]) == {2}
    with pytest.raises(DataError, match="No row of the later rounds of the held-out groups"):
        part(given.speak.where(group=sorted(set(given.speak.groups) - held)), held, test=True)


def test_an_agent_has_to_pass_both_nulls(llama):
    study = latent_agents.Study(
        llama, tiny_debate(0), ["resid_post.1"], "response[-1]", (1.0, 2.0), 4, 0.1, 0.05, False, 0, 0, False
    )
    told = latent_agents.Told(study, None, Pieces(None, {}))
    values = {"shuffled": [0.1, 0.2, 0.3, 0.9], "random": [0.1, 0.2, 0.2, 0.2]}
    rows = [{"kind": kind, "of": "one", "value": value} for kind, few in values.items() for value in few]
    assert told._p(pd.DataFrame(rows), "one", 0.5, "one") == pytest.approx((2 / 5, 0.375))
    swapped = pd.DataFrame(rows).replace({"kind": {"shuffled": "random", "random": "shuffled"}})
    assert told._p(swapped, "one", 0.5, "one") == pytest.approx((2 / 5, 0.375))
