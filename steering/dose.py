"""Dose-response: how much of a behaviour each strength gives, beside what it must be compared with."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import FEW_GROUPS, mean_interval
from lens.model import Model
from probes.direction import Direction
from steering.effects import effects
from steering.interventions import DEFAULT_SPAN, Add, Unit
from steering.measures import Measure

STRENGTHS = (-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0)


def dose_response(
    model: Model,
    direction: Direction,
    examples: Examples,
    measure: Measure,
    *,
    strengths: Sequence[float] = STRENGTHS,
    unit: Unit = "norm",
    span: str = DEFAULT_SPAN,
    random_draws: int = 10,
    prompted: Examples | None = None,
    seed: int = 0,
    batch_tokens: int = 8192,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Add a direction at several strengths and measure what happens; all strengths share the batches.

    One row per arm and strength. Arms: `direction`; `random`, random directions of the same norm at the same site
    (value: their mean; low, high: the lowest and highest of them); `prompt`, unsteered rows of `prompted` (the
    behaviour asked for in words), if given. Strength 0 is always measured.

    value, low, high: mean of the measure with its cluster-bootstrap 95 % interval over groups. change,
    change_low, change_high: the paired difference from strength 0 (missing for other prompts). coherence: mean
    share of coherent answers. n, missing: rows with and without a value. Warns below 20 groups.

    Raises as `steering.apply`, before anything runs; DataError without strengths.
    """
    if len(strengths) == 0:
        raise DataError("No strengths given; for example strengths=(-1, 0, 1).")
    if len(set(examples.groups)) < FEW_GROUPS:
        warnings.warn(
            f"Only {len(set(examples.groups))} groups: bootstrap intervals are too narrow below {FEW_GROUPS}.",
            stacklevel=2,
        )
    doses = sorted({0.0, *map(float, strengths)})
    run = _Run(model, examples, measure, doses, unit, span, batch_tokens, other_model, progress)
    own = run(direction)
    null = [run(direction.random_like(seed + draw)) for draw in range(random_draws)]
    rows = [_summary("direction", dose, own, examples) for dose in doses]
    for dose in doses if null else []:
        mean = {dose: sum(table[dose] for table in null) / len(null) for dose in (0.0, dose)}
        means = [float(table[dose]["value"].mean()) for table in null]
        rows.append(_summary("random", dose, mean, examples) | {"low": min(means), "high": max(means)})
    if prompted is not None:
        asked = effects(model, prompted, measure, batch_tokens=batch_tokens, progress=progress)
        unpaired = {"change": np.nan, "change_low": np.nan, "change_high": np.nan}
        rows.append(_summary("prompt", 0.0, {0.0: asked[["value", "coherence"]]}, prompted) | unpaired)
    table = pd.DataFrame(rows)
    table.insert(0, "measure", measure.name)
    table["unit"], table["site"], table["span"] = unit, str(direction.site), span
    return table


class _Run:
    """One direction at every dose: the examples repeated per dose, each row with its own strength."""

    def __init__(
        self,
        model: Model,
        examples: Examples,
        measure: Measure,
        doses: list[float],
        unit: Unit,
        span: str,
        batch_tokens: int,
        other_model: bool,
        progress: bool,
    ) -> None:
        self.model, self.measure, self.doses, self.unit, self.span = model, measure, doses, unit, span
        self.batch_tokens, self.other_model, self.progress = batch_tokens, other_model, progress
        self.n = len(examples)
        self.repeated = examples.select(np.tile(np.arange(self.n), len(doses)))

    def __call__(self, direction: Direction) -> dict[float, pd.DataFrame]:
        strength = torch.tensor(self.doses).repeat_interleave(self.n)
        change = Add(direction, strength, span=self.span, unit=self.unit)
        table = effects(
            self.model,
            self.repeated,
            self.measure,
            change,
            batch_tokens=self.batch_tokens,
            other_model=self.other_model,
            progress=self.progress,
        )[["value", "coherence"]]
        parts = (table.iloc[k * self.n : (k + 1) * self.n].reset_index(drop=True) for k in range(len(self.doses)))
        return dict(zip(self.doses, parts, strict=True))


def _summary(arm: str, dose: float, tables: dict[float, pd.DataFrame], examples: Examples) -> dict[str, object]:
    value, groups = tables[dose]["value"].to_numpy(), examples.groups
    low, high = mean_interval(value, groups)
    change = value - tables[0.0]["value"].to_numpy()
    change_low, change_high = mean_interval(change, groups)
    return {
        "arm": arm,
        "strength": dose,
        "value": float(np.nanmean(value)) if not np.isnan(value).all() else np.nan,
        "low": low,
        "high": high,
        "change": float(np.nanmean(change)) if not np.isnan(change).all() else np.nan,
        "change_low": change_low,
        "change_high": change_high,
        "coherence": float(tables[dose]["coherence"].mean()),
        "n": int((~np.isnan(value)).sum()),
        "missing": int(np.isnan(value).sum()),
        "groups": len(set(groups)),
    }


def choose_strength(curve: pd.DataFrame, *, coherence: float | None = 0.9, share: float = 0.8) -> float:
    """The smallest strength that has nearly the largest effect and keeps the model coherent.

    A strength qualifies if its coherence is at least `coherence` times the unsteered one (None: any); of those, the
    smallest whose effect, in either direction, is at least `share` of the largest. Choose on validation rows and
    report on test rows.

    Raises DataError: no direction arm, no effect whose interval excludes 0, a measure without coherence, or
    nothing coherent.
    """
    if "arm" not in curve or not (curve["arm"] == "direction").any():
        raise DataError(f"No arm 'direction' in the curve; columns: {available(curve.columns)}.")
    own = curve[curve["arm"] == "direction"]
    sound = own[(own["strength"] != 0) & own["change"].notna()]
    if len(sound) == 0:
        raise DataError("No strength has a value: every answer is missing.")
    sound = sound[(sound["change_low"] > 0) | (sound["change_high"] < 0)]
    if len(sound) == 0:
        raise DataError("No strength changes the measure: every interval of the change holds 0.")
    if coherence is not None:
        plain = float(own.loc[own["strength"] == 0, "coherence"].iloc[0])
        if np.isnan(plain):
            raise DataError("This measure says nothing of coherence; pass coherence=None to choose without it.")
        sound = sound[sound["coherence"] >= coherence * plain]
        if len(sound) == 0:
            raise DataError(f"No strength keeps coherence above {coherence:.2f} × {plain:.2f}; try smaller strengths.")
    effect = sound["change"].abs()
    enough = sound[effect >= share * effect.max()]
    return float(enough.loc[enough["strength"].abs().idxmin(), "strength"])
