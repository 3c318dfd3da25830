"""Injected thoughts where nothing is true: how often the study shows something."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import transformers
from scipy import stats

import lens
from probes.direction import Direction
from steering.studies import injected_thoughts as study
from steering.studies.injected_thoughts import evidence
from steering.studies.injected_thoughts.asking import Asker
from steering.studies.injected_thoughts.study import Study
from steering.studies.injected_thoughts.trials import design
from steering.studies.pieces import Pieces
from steering.studies.result import judged

RUNS, FEW_RUNS = 200, 40


def most(runs):
    return stats.binom.ppf(0.99, runs, 0.05)


@dataclasses.dataclass(frozen=True)
class Chatter(Asker):
    """Replies that have nothing to do with what is injected, in the ways in which models mislead.

    noise: yes and names at random. moods: every direction, of a concept or random, at every strength has its own rate
    of yes and its own names. startled: what is injected raises yes to any question, and names are a habit.
    """

    kind: str = "noise"

    def _rates(self, table, name):
        words, n, always = list(self.concepts), len(table), np.random.default_rng(self.seed)
        habit = always.dirichlet(np.ones(len(words)))
        yes, names = np.full(n, always.random()), np.tile(habit, (n, 1))
        rng = np.random.default_rng([self.seed, len(name)])
        if self.kind == "moods":
            for (site, *_), rows in table.reset_index(drop=True).groupby(["site", "strength", "draw", "concept"]):
                if site:
                    yes[rows.index] = rng.beta(0.4, 0.4)
                    names[rows.index] = rng.dirichlet(np.full(len(words), 0.3))
        elif self.kind == "startled":
            yes = np.where(table["site"] == "", 0.05, 0.9)
        said = (rng.random(n) < yes).astype(float)
        named = [words[int((one.cumsum() > u).argmax())] for one, u in zip(names, rng.random(n), strict=True)]
        return said, named

    def notices(self, plan, name):
        said, named = self._rates(plan, name)
        right = (pd.Series(named, index=plan.index) == plan["concept"]).astype(float)
        found = {"coherent": 1.0, "claims": said, "verdict": 1.0, "about": right, "success": said * right}
        return plan.assign(**found, named=named, right=right)

    def unrelated(self, plan, name):
        said, _ = self._rates(plan, name)
        return plan.assign(coherent=1.0, claims=said, verdict=1.0)


def shown(kind, count, total, seed):
    words = [f"word{k}" for k in range(count)]
    concepts = {word: {lens.Site("resid_post", 0): Direction.from_vector([1.0, 0.0], "resid_post.0")} for word in words}
    asked = study.Questions(["a"], ["b"], ["c"], by="options")
    asker = Chatter(None, asked, concepts, None, 1.0, seed, kind=kind)
    run = Study(asker, design(words, total, 9, deterministic=False, seed=seed), (1.0, 2.0, 4.0), 5, talks=False)
    claims, *_ = run.run(Pieces(None, {}))
    return judged(claims)["shown"].any()


@pytest.fixture
def quick(monkeypatch):
    """What the claims do not rest on takes the longest."""
    monkeypatch.setattr(Study, "_psychometric", lambda *_: pd.DataFrame())
    monkeypatch.setattr(evidence, "DRAWS", 999)


def test_models_that_notice_nothing_are_shown_to_do_nothing(quick):
    assert sum(shown("moods", 10, 20, seed) for seed in range(FEW_RUNS)) <= most(FEW_RUNS)


def test_a_habit_that_random_directions_silence_is_no_name():
    words = [f"word{k}" for k in range(12)]
    trials = design(words, 24, 9, deterministic=False, seed=0)
    plain = trials.assign(draw=-1, claims=0.0, success=0.0, right=np.tile([1.0, 0.0, 0.0], 8))
    silent = pd.concat([plain.assign(draw=draw, right=0.0) for draw in range(5)])
    found, behind = evidence.claims(evidence.Arms(plain, plain, silent, plain, plain), seed=0)
    assert not judged(found)["shown"].any()
    assert behind.set_index(["claim", "control"]).loc[(evidence.NAMES, "random directions"), "p"] < 0.01
    better = plain.assign(right=1.0)
    found, _ = evidence.claims(evidence.Arms(better, plain, silent, plain, plain), seed=0)
    assert judged(found).set_index("claim").loc[evidence.NAMES, "shown"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "moods", "startled"])
@pytest.mark.parametrize(("count", "total"), [(4, 48), (24, 24)])
def test_models_that_notice_nothing_in_every_way(kind, count, total, quick):
    false = sum(shown(kind, count, total, seed) for seed in range(RUNS))
    print(kind, count, false)  # noqa: T201
    assert false <= most(RUNS)


def random_model(seed):
    torch.manual_seed(seed)
    tokenizer = tiny.tokenizer()
    config = tiny.config(("llama", "gpt2", "qwen3")[seed % 3], len(tokenizer))
    hf = transformers.AutoModelForCausalLM.from_config(config).eval()
    return lens.wrap(hf, tokenizer, name=f"random {seed}")


WORDS = ["the", "quick", "brown", "fox", "she", "about", "money", "maybe"]
ASKED = study.Questions(
    trial=["was that the money", "she lied about that", "the quick fox was"],
    which=["that was about the", "the money was", "she lied about"],
    unrelated=["the fox was brown and", "that quick money", "she was"],
    by="options",
    yes=" yes",
    no=" no",
    tell="she lied about {word}",
)


@pytest.mark.slow
def test_random_models_are_shown_to_do_nothing(monkeypatch):
    # Random weights leave next to nothing on yes and no: every answer would be incoherent, and nothing tested.
    monkeypatch.setattr(study.asking, "MASS", 0.0)
    monkeypatch.setattr(Study, "_psychometric", lambda *_: pd.DataFrame())
    false = 0
    for seed in range(RUNS):
        found = study.run(
            random_model(seed), concepts=WORDS, baseline=["lied", "was", "that"], sites=["resid_post.1"],
            strengths=(1, 4), trials=24, asked=ASKED, random_draws=5, seed=seed, progress=False,
        )  # fmt: skip
        false += bool(found.claims["shown"].any())
    print("random models", false)  # noqa: T201
    assert false <= most(RUNS)
