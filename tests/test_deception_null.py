"""Where there is no deception to detect, hardly any run shows anything."""

import warnings

import numpy as np
import pandas as pd
import pytest
from deception_data import idle

import lens
from steering.studies import deception
from steering.studies.deception.causal import Steered
from steering.studies.deception.detectors import Training
from steering.studies.deception.pairs import checked_pairs
from steering.studies.deception.read import unpooled
from steering.studies.deception.study import READERS, Study
from steering.studies.deception.told import DETECTS, TELLS

LIES = ("instructed lie", "incentive lie", "feigned ignorance", "misleading truth")


def fitted_on_nothing(monkeypatch, rng):
    """Scores at random in place of those of detectors and of classifiers of texts."""

    def scores(self):
        count = len(self.scenes.labels) + len(self.control.examples)
        return pd.DataFrame({f"{name} {site}": rng.standard_normal(count) for name, site in _cells(self)})

    def validation(self):
        rows = [{"detector": name, "site": str(site), "layer": site.layer} for name, site in _cells(self)]
        told = pd.DataFrame(rows).assign(validation=rng.random(len(rows)), apart=1.0)
        return told.assign(chosen=told["validation"] == told.groupby("detector")["validation"].transform("max"))

    def texts(self):
        count = len(self.scenes.labels) + len(self.control.examples)
        return pd.DataFrame({name: rng.standard_normal(count) for name in READERS})

    def transfer(self):
        names = [name for kind in self.battery for name in (kind, *(f"{kind} {reader}" for reader in READERS))]
        count = len(self.scenes.labels) + len(self.control.examples)
        return pd.DataFrame({name: rng.standard_normal(count) for name in names})

    def nulls(self):
        return pd.DataFrame([{"null": "random direction", "auroc": 0.5, "recall": 0.0, "flagged": 0.0}])

    def cosines(self):
        return pd.DataFrame({"cosine": [0.0 for _ in _cells(self)]})

    for made_up in (scores, validation, texts, transfer, nulls, cosines):
        monkeypatch.setattr(Study, made_up.__name__, made_up)


def _cells(study):
    return [(name, site) for name in study.options.detectors for site in study.sites]


def shown_of(llama, monkeypatch, seed) -> bool:
    """Whether anything is shown where scores owe nothing to labels; two kinds of lies, errors, and a battery."""
    rng = np.random.default_rng(seed)
    given = idle(seed=seed)
    del given["facts"]
    frame = given["scenarios"].frame
    lies = np.where(rng.random(len(frame)) < 0.5, "lie", "white lie")
    given["scenarios"] = lens.Examples(frame.assign(kind=np.where(frame["kind"] == "lie", lies, frame["kind"])))
    fitted_on_nothing(monkeypatch, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = deception.run(
            llama,
            **given,
            battery={"lie": given["pairs"]},
            span="response",
            detectors=["lat"],
            seed=seed,
            progress=False,
        )
    assert len(result.claims) == 6
    return bool(result.claims["shown"].any())


@pytest.mark.slow
def test_over_200_null_runs_hardly_any_shows_anything(llama, monkeypatch):
    """By the statistics alone: what a random model's scores are is tried on whole runs above."""
    shown = [shown_of(llama, monkeypatch, seed) for seed in range(200)]
    assert np.mean(shown) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.slow
def test_a_direction_of_meaningless_labels_seldom_makes_it_lie(llama):
    p = []
    for seed in range(60):
        given = idle(seed=seed)
        pairs = checked_pairs(given["pairs"], response=True)
        acts = unpooled(llama, pairs, ["resid_post.1", "resid_post.2"], "response", progress=False)
        training = Training(acts, 10.0, seed)
        own = {str(site): training.direction("mean_difference", site) for site in training.sites}
        drawn = {name: training.matched(one, 19) for name, one in own.items()}
        matched = [{name: each[draw] for name, each in drawn.items()} for draw in range(19)]
        liars = given["scenarios"].where(label=1)
        steered = Steered(llama, own, given["facts"], liars, matched, (0.5, 1.0), seed, False)
        p.append(steered.tables()["steered"]["p"].to_numpy())
    assert (np.mean(np.stack(p) <= 0.05, axis=0) <= 0.05 + 2 * (0.05 * 0.95 / 60) ** 0.5).all()


def test_a_detector_of_scenarios_detects_no_deception(llama, monkeypatch):
    """Honest rows and errors outside the scenario are told from lies by it alone; inside, nothing is."""
    rng, given = np.random.default_rng(0), idle(seed=0, rows=160)
    del given["facts"]
    # Of each group in turn: lies, honest rows in the scenario, and outside; errors outside.
    part = np.arange(160) // 2 % 4
    kinds = np.array(["lie", "honest", "honest", "error"])[part]
    given["scenarios"] = lens.Examples(
        given["scenarios"].frame.assign(label=(part == 0).astype(int), scenario=(part < 2).astype(int), kind=kinds)
    )
    fitted_on_nothing(monkeypatch, rng)

    def scores(self):
        inside = np.r_[self.scenes.inside.astype(float), np.zeros(len(self.control.examples))]
        return pd.DataFrame(
            {f"{name} {site}": inside + 0.2 * rng.standard_normal(len(inside)) for name, site in _cells(self)}
        )

    monkeypatch.setattr(Study, "scores", scores)
    result = deception.run(llama, **given, span="response", detectors=["lat"], progress=False)
    assert not result.claims["shown"].any() and result.tables["detectors"]["auroc"].iloc[0] > 0.7
    row = result.row(TELLS)
    assert np.isnan(row["p"]) and np.isnan(row["value"]) and row["n"] == 40
    assert any(f"{TELLS}: not tested, since no honest row" in note for note in result.notes)
    assert result.row(DETECTS)["n"] == 80 and np.isnan(result.row(TELLS)["p_holm"])
    assert len(list(deception.figures(result))) >= 3
