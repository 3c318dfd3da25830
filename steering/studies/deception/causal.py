"""Causal: whether adding the direction makes the model lie, and taking it away makes it honest.

Adding: questions asked plainly. Layer and strength are those with the largest rise of P(lie) on half of the groups, of
those that leave at least .9 of the probability on the answers that was there; the other half tells how much it rises.
Every random draw has a direction of the same norm at every layer, and chooses its layer and strength in the same way;
it has the covariance of the pairs within their labels, since directions along which texts vary do more than others.

Taking away: the rows on which the model lies, at the chosen layer and strength with the sign turned (of every random
draw, at its own: held against draws at a layer that is not their best, any direction would look strong); and with the
direction written out of the weights. What either costs is read off the plain questions: the share whose likelier
answer is right.

The direction is the difference of means, which steers better than what classifies best. Strengths are in mean residual
norms at the tokens that the pairs are read at.

Source: Marks & Tegmark, The Geometry of Truth (2023), for the direction; Arditi et al. (2024) for the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.errors import DataError
from lens.examples import Examples
from lens.intervals import mean_interval
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from probes.metrics import p_value
from steering.edits import Orthogonalize, edit
from steering.paired import paired
from steering.studies.asked import Asked
from steering.studies.firsts import Firsts, texts_of

SIDES, SOUND = ("wrong", "right"), 0.9
STRENGTHS = (0.5, 1.0, 2.0)
EDITS, SHOWN = 3, 10
# Rows at the most, to choose layer and strength on and to measure on: there are hundreds of random directions.
KNOWN, MOST = 32, 96
# A layer and a strength.
Place = tuple[str, float]
# P(lie) and the probability on the answers, [directions, strengths with 0 first, rows].
Values = tuple[Float[np.ndarray, "m doses n"], Float[np.ndarray, "m doses n"]]


def check_facts(model: Model, facts: Examples) -> None:
    """Raises DataError, before anything runs: too few groups to choose on half of them, a missing column, answers of
    both kinds that begin alike, a prompt longer than the context."""
    if len(set(facts.groups)) < 4:
        raise DataError(f"facts: {len(set(facts.groups))} groups; at least 4 are needed, to choose on half of them.")
    try:
        Firsts.of(model, texts_of(facts, SIDES), SIDES)
        model.rows(facts.prompts)
    except DataError as error:
        raise DataError(f"facts: {error}") from error


@dataclass(frozen=True, eq=False)
class Steered:
    """What the direction does. directions: one for every layer. liars: rows on which the model lies (None: untried).
    matched: random ones with the covariance of the pairs, which it is held against."""

    model: Model
    directions: Mapping[str, Direction]
    facts: Examples
    liars: Examples | None
    matched: Sequence[Mapping[str, Direction]]
    strengths: Sequence[float]
    seed: int
    progress: bool

    @cached_property
    def randoms(self) -> list[dict[str, Direction]]:
        """Directions drawn from all that there are, of the same norm, at every layer: they are shown beside."""
        return [
            {
                name: one.random_like(self.seed + 1000 * draw + at)
                for at, (name, one) in enumerate(self.directions.items())
            }
            for draw in range(1, SHOWN + 1)
        ]

    def tables(self) -> dict[str, pd.DataFrame]:
        """steered, curve, and with liars: removed."""
        parts = self.facts.split(test=0.5, by="group", seed=self.seed)
        known, held = (self._asked(part, most) for part, most in zip(parts, (KNOWN, MOST), strict=True))
        (own, *null), sound = self._chosen(known)
        name, dose = own
        lies, mass = self._measured(held, name, self.randoms, self.strengths)
        at = 1 + list(self.strengths).index(dose)
        row = self._row("added", lies[0, at] - lies[0, 0], self._moved(held, null, sign=1), held.examples, sign=1)
        arms = [row | {"site": name, "strength": dose, "coherence": mass[0, at].mean(), "plain": mass[0, 0].mean()}]
        tables = {"curve": self._curve(lies, mass, held.examples)}
        if self.liars is not None:
            liars = self._asked(self.liars, MOST)
            lies, mass = self._measured(liars, name, [], [-dose])
            moved = self._moved(liars, null, sign=-1)
            row = self._row("taken away", lies[0, 1] - lies[0, 0], moved, liars.examples, sign=-1)
            row |= {"site": name, "strength": -dose, "coherence": mass[0, 1].mean(), "plain": mass[0, 0].mean()}
            arms.append(row)
            tables["removed"] = self._removed(name, dose, liars, held)
        # `sound`: whether any layer and strength left the model coherent when they were chosen.
        return {"steered": pd.DataFrame(arms).assign(sound=sound), **tables}

    def _asked(self, rows: Examples, most: int) -> Asked:
        """At most so many of the rows, drawn at random."""
        if len(rows) > most:
            rows = rows.select(np.sort(np.random.default_rng(self.seed).permutation(len(rows))[:most]))
        return self._of(rows)

    def _of(self, rows: Examples) -> Asked:
        """Rows that are asked of the model as it is now. Raises DataError: answers of both kinds that begin alike."""
        return Asked(self.model, texts_of(rows, SIDES), SIDES, progress=self.progress)

    def _moved(self, asked: Asked, null: list[Place], *, sign: int) -> Float[np.ndarray, " draws"]:
        """How much each random draw changes P(lie), at the layer and strength that it chose, added (sign 1) or taken
        away (−1)."""
        change = np.full(len(null), np.nan)
        for name in self.directions:
            mine = [draw for draw, (site, _) in enumerate(null) if site == name]
            if mine:
                steps = [sign * null[draw][1] * _unit(self.matched[draw][name]) for draw in mine]
                vectors = torch.stack([0 * steps[0], *steps])
                lies, _ = lying(asked, self.directions[name].site, vectors)
                change[mine] = (lies[1:] - lies[0]).mean(axis=1)
        return change

    def _chosen(self, known: Asked) -> tuple[list[Place], bool]:
        """Of the direction and of every random draw: the layer and strength with the largest rise of P(lie) that keep
        the model coherent, the first of all where none does; and whether any does of the direction."""
        rise = {}
        for name in self.directions:
            lies, mass = self._measured(known, name, self.matched, self.strengths)
            risen = (lies[:, 1:] - lies[:, :1]).mean(axis=2)
            sound = mass[:, 1:].mean(axis=2) >= SOUND * mass[:, :1].mean(axis=2)
            rise[name] = np.where(sound, risen, -np.inf)
        table = np.stack(list(rise.values()), axis=1)
        best = table.reshape(len(table), -1).argmax(axis=1)
        names, width = list(rise), len(self.strengths)
        places = [(names[int(one) // width], self.strengths[int(one) % width]) for one in best]
        return places, bool(np.isfinite(table[0]).any())

    def _measured(
        self, asked: Asked, name: str, randoms: Sequence[Mapping[str, Direction]], strengths: Sequence[float]
    ) -> Values:
        """Of the direction at a layer, then of random ones; strength 0 first."""
        several, doses = [self.directions[name], *(one[name] for one in randoms)], [0.0, *strengths]
        units = torch.stack([_unit(one) for one in several])
        vectors = (torch.tensor(doses)[None, :, None] * units[:, None]).flatten(0, 1)
        lies, mass = lying(asked, self.directions[name].site, vectors)
        shape = (len(several), len(doses), len(asked.examples))
        return lies.reshape(shape), mass.reshape(shape)

    def _curve(
        self, lies: Float[np.ndarray, "m doses n"], mass: Float[np.ndarray, "m doses n"], held: Examples
    ) -> pd.DataFrame:
        """P(lie) at every strength: of the direction, with its interval over groups, and of ten random directions, with
        their lowest and highest."""
        rows = []
        for at, dose in enumerate([0.0, *self.strengths]):
            low, high = mean_interval(lies[0, at], held.groups, seed=self.seed)
            row: dict[str, Any] = {"arm": "direction", "strength": dose, "value": float(lies[0, at].mean())}
            rows.append(row | {"low": low, "high": high, "coherence": float(mass[0, at].mean())})
        for at, dose in enumerate([0.0, *self.strengths]):
            means = lies[1:, at].mean(axis=1)
            row = {"arm": "random", "strength": dose, "value": float(means.mean())}
            row |= {"low": float(means.min()), "high": float(means.max())}
            rows.append(row | {"coherence": float(mass[1:, at].mean())})
        return pd.DataFrame(rows)

    def _removed(self, name: str, dose: float, liars: Asked, held: Asked) -> pd.DataFrame:
        """P(lie) of liars and accuracy on plain questions: as it is, steered, and with weights edited."""
        direction = self.directions[name]
        vector = -dose * _unit(direction)[None]

        def measured(arm: str, vector: torch.Tensor) -> dict[str, Any]:
            # The weights may have been edited since they were asked before.
            (lies, one), (plain, other) = (
                lying(self._of(part.examples), direction.site, vector) for part in (liars, held)
            )
            row = {"arm": arm, "P(lie) of liars": lies.mean(), "right when asked plainly": (plain < 0.5).mean()}
            return row | {"coherence": np.r_[one[0], other[0]].mean()}

        def edited(arm: str, one: Direction) -> dict[str, Any]:
            with edit(self.model, Orthogonalize(one)):
                return measured(arm, 0 * vector)

        rows = [measured("as it is", 0 * vector), measured("taken away", vector)]
        rows.append(edited("written out of the weights", direction))
        several = pd.DataFrame([edited("", one[name]) for one in self.randoms[:EDITS]]).drop(columns="arm")
        rows.append({"arm": "random directions written out", **several.mean()})
        return pd.DataFrame(rows)

    def _row(
        self,
        arm: str,
        change: Float[np.ndarray, " n"],
        moved: Float[np.ndarray, " draws"],
        rows: Examples,
        *,
        sign: int,
    ) -> dict[str, Any]:
        """The change with its interval, beside that of random directions; p: of its rank among them."""
        found = paired(change, rows.groups, seed=self.seed)
        told: dict[str, Any] = {"arm": arm, **{name: found[name] for name in ("change", "low", "high", "n", "missing")}}
        told |= {"p": p_value(sign * moved, sign * float(found["change"])), "random": float(moved.mean())}
        told |= {"random_low": float(moved.min()), "random_high": float(moved.max())}
        return told | {"groups": len(set(rows.groups.astype(str)))}


def _unit(direction: Direction) -> Float[torch.Tensor, " d"]:
    """A step of strength 1."""
    return direction.vector * direction.residual_norm


def lying(
    asked: Asked, site: Site, vectors: Float[torch.Tensor, "copies d"]
) -> tuple[Float[np.ndarray, "copies n"], Float[np.ndarray, "copies n"]]:
    """P(wrong) / (P(wrong) + P(right)) of every row with each vector added, and P(wrong) + P(right)."""
    both = np.exp(asked.pushed(site, vectors.numpy()))
    mass = both.sum(axis=-1)
    return both[..., 0] / mass, mass
