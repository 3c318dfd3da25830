"""Choose: which direction, at which layer, how strongly, on validation rows; reported once on test rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples
from lens.model import Model
from probes.direction import Direction
from steering.criteria import Candidate, Coherence, Criterion
from steering.curve import point
from steering.dose import STRENGTHS, dose_response
from steering.dosing import Doses
from steering.interventions import DEFAULT_SPAN, Add, Unit
from steering.measures import Measure


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen. validation: a row per candidate. test: the dose-response table of the chosen one on test rows,
    at 0 and at its strength (None without test rows)."""

    name: str
    direction: Direction
    strength: float
    unit: Unit
    span: str
    validation: pd.DataFrame
    test: pd.DataFrame | None = None

    def __repr__(self) -> str:
        return f"Choice({self.name!r}: {self.direction!r}, strength {self.strength:+.3g} {self.unit})"

    @property
    def intervention(self) -> Add:
        """What was chosen, for `steering.apply`."""
        return Add(self.direction, self.strength, unit=self.unit, span=self.span)


def choose(
    model: Model,
    directions: Mapping[str, Direction] | Sequence[Direction],
    validation: Examples,
    measure: Measure,
    *,
    at: Criterion | None = None,
    test: Examples | None = None,
    strengths: Sequence[float] = STRENGTHS,
    unit: Unit = "norm",
    span: str = DEFAULT_SPAN,
    random_draws: int = 10,
    prompted: Examples | None = None,
    seed: int = 0,
    batch_tokens: int = 8192,
    other_model: bool = False,
    progress: bool = True,
) -> Choice:
    """The direction and strength with the largest effect on validation rows, compared at equal coherence (default), at
    equal divergence (`IsoKl`) or at equal manipulation check (`Matched`).

        choice = steering.choose(model, directions, validation, measure, at=steering.IsoKl(1.0), test=test)
        with steering.apply(model, choice.intervention):
            ...

    directions: one per layer, or several methods; by name, or named by their sites. strengths: the grid of `Coherence`;
    the others find theirs. The effect is the mean paired change of the measure, in either direction; those whose
    interval holds 0 are not chosen. test, random_draws, prompted: the chosen one is measured there once, with
    `dose_response`; its rows may share no group with validation.

    Raises DataError: no direction, two of one name, groups in both sets, or none that has an effect. As
    `steering.apply` for a direction of another model, before anything runs.
    """
    named = _named(directions)
    if test is not None:
        _check_apart(validation, test)
    grid = sorted({0.0, *map(float, strengths)})
    doses = Doses(model, validation, measure, grid, unit, span, batch_tokens, other_model, progress)
    for direction in named.values():
        Add(direction, 0.0, span=span, unit=unit).check_model(model, other_model=other_model)
    criterion = at or Coherence()
    found = [(name, one) for name, given in named.items() for one in criterion.candidates(doses, given)]
    table = pd.DataFrame([_row(name, named[name], one, criterion, validation) for name, one in found])
    effective = table[(table["change_low"] > 0) | (table["change_high"] < 0)]
    if effective.empty:
        raise DataError(
            f"No direction changes {measure.name}: every interval of the change holds 0. "
            + "; ".join(f"{name}: {one.note}" for name, one in found if one.note)
        )
    place = effective["change"].abs().idxmax()
    table["chosen"] = table.index == place
    name, strength = str(table.loc[place, "direction"]), float(table.loc[place, "strength"])
    reported = None
    if test is not None:
        reported = dose_response(
            model,
            named[name],
            test,
            measure,
            strengths=[strength],
            unit=unit,
            span=span,
            random_draws=random_draws,
            prompted=prompted,
            seed=seed,
            batch_tokens=batch_tokens,
            other_model=other_model,
            progress=progress,
        )
    return Choice(name, named[name], strength, unit, span, table, reported)


def _named(directions: Mapping[str, Direction] | Sequence[Direction]) -> dict[str, Direction]:
    pairs = list(directions.items()) if isinstance(directions, Mapping) else [(str(d.site), d) for d in directions]
    named = dict(pairs)
    if not named:
        raise DataError("No direction to choose from.")
    if len(named) < len(pairs):
        raise DataError(f"Several directions at one site ({available(named)}); give a dictionary with a name for each.")
    return named


def _check_apart(validation: Examples, test: Examples) -> None:
    shared = sorted(set(map(str, validation.groups)) & set(map(str, test.groups)))
    if shared:
        raise DataError(
            f"{len(shared)} groups are in both validation and test rows ({available(shared, 3)}): what is chosen on "
            "rows may not be reported on them. Examples.split keeps groups apart."
        )


def _row(
    name: str, direction: Direction, one: Candidate, criterion: Criterion, examples: Examples
) -> dict[str, object]:
    known = {"direction": name, "site": str(direction.site), "strength": one.strength, "at": criterion.name}
    measured = {} if one.tables is None else point("direction", one.strength, one.tables, examples)
    kept = ("value", "low", "high", "change", "change_low", "change_high", "coherence", "kl", "kl_p95", "n", "missing")
    return known | {"reached": one.reached} | {key: measured.get(key, math.nan) for key in kept} | {"note": one.note}
