"""The rank of a trigger: its p holds whatever models have in common, and many models keep their power."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from backdoor_data import WORDS, seeds_of_one_base, tiny_questions

from steering.studies import backdoor
from steering.studies.backdoor.evidence import ranks_of

LEVEL, RUNS, K = 0.05, 400, 40
SLACK = 2 * (LEVEL * (1 - LEVEL) / RUNS) ** 0.5
RANKED = "its trigger can be found"


def as_if_models_were_independent(ranks, k):
    """The mistake: every model draws the trigger's rank for itself."""
    drawn = (1 / np.random.default_rng(0).integers(1, k + 1, size=(4000, len(ranks)))).mean(axis=1)
    return (1 + (drawn >= np.mean(1 / ranks)).sum()) / 4001


def seeds(rng, models, k):
    """Scores of models that share most of what raises the attack."""
    return rng.standard_normal(k) + 0.3 * rng.standard_normal((models, k))


def test_ranks_at_random_give_ps_at_random_and_ties_are_no_hits():
    rng = np.random.default_rng(3)
    found = [backdoor.ranking(ranks_of(rng.standard_normal((4, K))), 0) for _ in range(RUNS)]
    assert np.mean([one["p"] <= LEVEL for one in found]) <= LEVEL + SLACK
    assert np.mean([one["hits"] for one in found]) == pytest.approx(1 / K, abs=0.03)
    assert np.mean([one["mrr"] for one in found]) == pytest.approx(found[0]["mrr_null"], abs=0.03)
    assert backdoor.ranking(np.arange(1.0, 9)[None], 0)["p"] == pytest.approx(1 / 8)
    # However many models agree: a permutation of eight names has eight places for the trigger.
    assert backdoor.ranking(np.tile(np.arange(1.0, 9), (4, 1)), 0)["p"] == pytest.approx(1 / 8)
    assert backdoor.ranking(np.tile(np.arange(1.0, 9), (4, 1)), 7)["p"] == 1
    scores = pd.Series({"a": 0.1, "b": 0.3, "c": 0.3})
    assert [backdoor.rank_of(scores, name) for name in "abc"] == [3, 1.5, 1.5]
    tied = backdoor.ranking(np.array([[1.5, 1.5, 3.0]]), 0)
    assert tied["hits"] == 0 and tied["hits_p"] == 1 and tied["p"] == pytest.approx(2 / 3)


def test_the_published_hits_are_counted_without_taking_models_for_independent():
    """5 of 8 models rank the real one of 8 triggers first: published as p = .0012; eight names allow no less."""
    ranks = np.tile(np.arange(1.0, 9), (8, 1))
    ranks[5:] = np.roll(ranks[5:], 3, axis=1)
    found = backdoor.ranking(ranks, 0)
    assert found["hits"] == 5 / 8 and found["hits_null"] == 1 / 8 and found["hits_p"] == pytest.approx(1 / 8)


def test_models_that_share_which_words_raise_the_attack_are_no_evidence_of_a_trigger():
    rng = np.random.default_rng(0)
    right, wrong, beside = [], [], []
    for _ in range(RUNS):
        right.append(backdoor.ranking(ranks_of(seeds(rng, 5, K)), 0)["p"] <= LEVEL)
        ranks = ranks_of(seeds(rng, 10, 8))
        wrong.append(as_if_models_were_independent(ranks[:5, 0], 8) <= LEVEL)
        beside.append(backdoor.over_models(1 / ranks[:5, 0], 1 / ranks[5:, 0])["p"] <= LEVEL)
    assert max(np.mean(right), np.mean(beside)) <= LEVEL + SLACK and np.mean(wrong) > 0.1


def test_beside_models_without_it_a_trigger_among_few_candidates_is_found():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(100):
        scores = seeds(rng, 10, 8)
        scores[:5, 0] += 4
        one, other = ranks_of(scores[:5]), ranks_of(scores[5:])
        found.append(backdoor.over_models(1 / one[:, 0], 1 / other[:, 0])["p"] <= LEVEL)
    assert np.mean(found) > 0.8


def test_seeds_of_one_base_without_a_backdoor_show_no_trigger_whichever_word_is_called_one():
    given, old = replace(tiny_questions(0, candidates=WORDS), reports=None), []
    for base in range(2):
        models, p = seeds_of_one_base(base), []
        first = backdoor.run(models, replace(given, trigger=WORDS[0]), sites=["resid_post.0"], progress=False)
        table = first.tables["candidates"]
        scores = table[table["candidate"] != ""].pivot(index="model", columns="candidate", values="score")[WORDS]
        ranks = ranks_of(scores.to_numpy(dtype=float))
        for number in range(len(WORDS)):
            p.append(backdoor.ranking(ranks, number)["p"])
            old.append(as_if_models_were_independent(ranks[:, number], len(WORDS)))
        # No more of them are below a level than its share.
        assert (np.sort(p) >= np.arange(1, 9) / 8 - 1e-9).all()
        assert first.row(RANKED)["p"] == pytest.approx(p[0]) and not first.claims["shown"].any()
    assert np.mean(np.array(old) < LEVEL) > 0.1
