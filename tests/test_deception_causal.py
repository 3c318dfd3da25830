"""What the direction does, held against random directions: on answers made up of how far each layer is pushed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens import Site
from probes import Direction
from steering.studies.asked import Asked
from steering.studies.deception import causal
from steering.studies.deception.causal import Steered
from steering.studies.deception.told import ADDED, TAKEN, Findings
from steering.studies.pieces import Pieces
from steering.studies.result import judged

WIDTH, DRAWS = 4, 49
# Each layer is read along its first axis, the second layer more so.
GAIN = {"resid_post.0": 1.0, "resid_post.1": 3.0}
PLAIN = {"facts": -1.0, "liars": 1.0}


class Rows(Asked):
    def __init__(self, examples: lens.Examples) -> None:
        self.examples = examples


def table(kind: str) -> lens.Examples:
    rows = [{"prompt": f"{kind} {k}", "kind": kind, "group": f"{kind} {k}"} for k in range(40)]
    return lens.Examples(pd.DataFrame(rows))


def along(first: float, site: str) -> Direction:
    """A unit vector that goes so far along what the layer is read by."""
    vector = torch.zeros(WIDTH)
    vector[0], vector[1] = first, (1 - first**2) ** 0.5
    return Direction.from_vector(vector.numpy(), Site.parse(site), residual_norm=1.0)


def steered(monkeypatch, own, random, *, left: float = 1.0, down: float = 1.0) -> Steered:
    """own, random: how far the direction and each draw go, by layer. left: the probability that any push leaves on the
    answers; down: that one against the first axis does."""

    def lying(asked, site, vectors):
        pushed = vectors.double().numpy()[:, 0]
        share = 1 / (1 + np.exp(-(PLAIN[asked.examples.frame["kind"].iloc[0]] + GAIN[str(site)] * pushed)))
        mass = np.where(vectors.norm(dim=1).numpy() > 0, np.where(pushed < 0, min(left, down), left), 1.0)
        return tuple(np.tile(one[:, None], (1, len(asked.examples))) for one in (share, mass))

    monkeypatch.setattr(causal, "lying", lying)
    monkeypatch.setattr(Steered, "_of", lambda self, rows: Rows(rows))
    monkeypatch.setattr(Steered, "_removed", lambda self, *given: pd.DataFrame({"arm": ["as it is"]}))
    directions = {site: along(first, site) for site, first in own.items()}
    matched = [{site: along(first, site) for site, first in random(draw).items()} for draw in range(DRAWS)]
    return Steered(
        object.__new__(lens.Model), directions, table("facts"), table("liars"), matched, (0.5, 1.0), 0, False
    )


def claims(study: Steered) -> tuple[pd.DataFrame, list[str]]:
    findings = SimpleNamespace(steered=study, pieces=Pieces(None, {}), tables={}, notes=[])
    return judged(Findings._steered(findings)).set_index("claim"), findings.notes


def weak(draw: int) -> dict[str, float]:
    return dict.fromkeys(GAIN, 0.1 + draw / 1000)


def test_random_directions_are_taken_away_where_they_do_most_too(monkeypatch):
    """They do nothing at the first layer, where the direction does most, and more than it at the second."""
    study = steered(monkeypatch, {"resid_post.0": 0.9, "resid_post.1": 0.0}, lambda draw: {
        "resid_post.0": 0.0, "resid_post.1": 0.8
    })  # fmt: skip
    arms = study.tables()["steered"].set_index("arm")
    assert set(arms["site"]) == {"resid_post.0"} and (arms["p"] == 1).all()
    assert arms.loc["taken away", "random"] < arms.loc["taken away", "change"] < 0
    found, _ = claims(study)
    assert not found["shown"].any()
    strong, notes = claims(steered(monkeypatch, dict.fromkeys(GAIN, 0.9), weak))
    assert strong.loc[[ADDED, TAKEN], "shown"].all() and not notes


def test_a_direction_like_any_other_is_seldom_shown(monkeypatch):
    rng, p = np.random.default_rng(0), []
    for _ in range(60):
        many = rng.uniform(-1, 1, (DRAWS + 1, 2))
        own, *others = [dict(zip(GAIN, row, strict=True)) for row in many]
        study = steered(monkeypatch, own, lambda draw, others=others: others[draw])
        p.append(study.tables()["steered"]["p"].to_numpy())
    assert (np.mean(np.stack(p) <= 0.05, axis=0) <= 0.05 + 2 * (0.05 * 0.95 / 60) ** 0.5).all()


@pytest.mark.parametrize(
    ("options", "shown", "said"),
    [
        ({"left": 0.1}, set(), "No layer and strength leaves 0.9 of the probability"),
        ({"down": 0.1}, {ADDED}, "Taken away at resid_post.1, strength -1, the direction leaves 0.1 of the"),
    ],
)
def test_what_leaves_the_model_incoherent_shows_nothing(monkeypatch, options, shown, said):
    found, notes = claims(steered(monkeypatch, dict.fromkeys(GAIN, 0.9), weak, **options))
    assert set(found.index[found["shown"]]) == shown
    assert len(notes) == 1 and said in notes[0]
