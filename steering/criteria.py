"""At what strength directions are compared: each criterion gives a direction the strengths at which it competes."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lens.errors import DataError
from lens.examples import Examples
from probes.direction import Direction
from steering.curve import choose_strength, point
from steering.dosing import Doses, Table
from steering.measures import Measure

# Strengths are looked for between these, either way; each round after the first narrows the bracket to an eighth.
LEAST, MOST, POINTS, ROUNDS = 2.0**-6, 2.0**4, 9, 4

Statistic = Callable[[Table, float], float]


@dataclass(frozen=True)
class Candidate:
    """A strength of a direction, what the criterion measured there, and what its rows did. Without a strength: `note`
    says why the direction does not compete."""

    strength: float
    reached: float = math.nan
    tables: Table | None = None
    note: str = ""


class Criterion(ABC):
    """How strengths are made comparable across directions."""

    name: str

    @abstractmethod
    def candidates(self, doses: Doses, direction: Direction) -> list[Candidate]:
        """Strengths at which the direction competes, measured on the rows of `doses`."""


@dataclass(frozen=True)
class Coherence(Criterion):
    """The smallest strength that has at least `share` of the direction's largest effect and keeps the model coherent:
    at least `floor` times as coherent as unsteered (None: at any coherence). See `choose_strength`."""

    floor: float | None = 0.9
    share: float = 0.8
    name = "coherence"

    def candidates(self, doses: Doses, direction: Direction) -> list[Candidate]:
        (found,) = doses([direction])
        curve = pd.DataFrame([point("direction", dose, found, doses.examples) for dose in doses.strengths])
        try:
            strength = choose_strength(curve, coherence=self.floor, share=self.share)
        except DataError as error:
            return [Candidate(math.nan, note=str(error))]
        return [Candidate(strength, float(found[strength]["coherence"].mean()), found)]


@dataclass(frozen=True)
class IsoKl(Criterion):
    """Equal divergence: the strength, one each way, at which KL(steered ‖ unsteered) is `nats`, so that directions are
    compared where they disturb the model's predictions equally (see `effects`).

    quantile: of the rows' divergences (None: their mean). on: rows to measure it on, such as prompts that have nothing
    to do with the behaviour (None: the validation rows). Where the answer is all that a direction can change, what
    disturbs the validation rows equally has moved the answer equally, and nothing is left to compare: give rows.
    """

    nats: float = 1.0
    quantile: float | None = 0.95
    on: Examples | None = None
    name = "kl"

    def __post_init__(self) -> None:
        if not (self.nats > 0 and (self.quantile is None or 0 < self.quantile <= 1)):
            raise DataError(f"IsoKl needs nats above 0 and a quantile up to 1; given: {self.nats}, {self.quantile}.")

    def candidates(self, doses: Doses, direction: Direction) -> list[Candidate]:
        def statistic(table: Table, strength: float) -> float:
            kl = table[strength]["kl"]
            return float(kl.mean() if self.quantile is None else kl.quantile(self.quantile))

        rows = doses if self.on is None else replace(doses, examples=self.on)
        found = [_solve(rows, direction, statistic, self.nats, sign) for sign in (1.0, -1.0)]
        return found if self.on is None else [_measured(one, doses, direction) for one in found]


@dataclass(frozen=True)
class Matched(Criterion):
    """Matched strength: the strength, one each way, at which a manipulation check has a given mean, so that methods are
    compared where they have done the same to what they are meant to change.

    check: a measure of the same rows. value: the mean that it shall have.
    """

    check: Measure
    value: float
    name = "check"

    def candidates(self, doses: Doses, direction: Direction) -> list[Candidate]:
        def statistic(table: Table, strength: float) -> float:
            return float(table[strength]["value"].mean())

        rows = replace(doses, measure=self.check)
        found = (_solve(rows, direction, statistic, self.value, sign) for sign in (1.0, -1.0))
        return [_measured(one, doses, direction) for one in found]


def _measured(met: Candidate, doses: Doses, direction: Direction) -> Candidate:
    """A strength that was found elsewhere, with what the rows to be compared on do at it."""
    if met.tables is None:
        return met
    return replace(met, tables=replace(doses, strengths=sorted([0.0, met.strength]))([direction])[0])


def _solve(doses: Doses, direction: Direction, statistic: Statistic, target: float, sign: float) -> Candidate:
    """The smallest strength of this sign at which a statistic has crossed its target: a grid of strengths, then ever
    finer ones between the two that enclose it."""
    low, grid = 0.0, np.geomspace(LEAST, MOST, POINTS).tolist()
    for _ in range(ROUNDS):
        (tables,) = replace(doses, strengths=sorted([0.0, *(sign * size for size in grid)]))([direction])
        before = statistic(tables, 0.0) - target
        if before == 0:
            return Candidate(math.nan, note=f"it is {target:g} without steering")
        after = [(statistic(tables, sign * size) - target) * before for size in grid]
        place = next((place for place, product in enumerate(after) if product <= 0), None)
        if place is None:
            last = statistic(tables, sign * grid[-1])
            return Candidate(math.nan, note=f"it is {last:.3g} at {sign * grid[-1]:+g}, and {target:g} at no strength")
        low, high = (grid[place - 1] if place else low), grid[place]
        grid = np.linspace(low, high, POINTS)[1:].tolist()
    strength = sign * high
    return Candidate(strength, statistic(tables, strength), {dose: tables[dose] for dose in (0.0, strength)})
