"""Dose-response: how much of a behaviour each strength gives, beside what it must be compared with."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens.errors import DataError
from lens.examples import Examples
from lens.intervals import FEW_GROUPS
from lens.model import Model
from probes.direction import Direction
from steering.curve import point
from steering.dosing import Doses
from steering.effects import effects
from steering.interventions import DEFAULT_SPAN, Unit
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
    change_low, change_high: the paired difference from strength 0 (missing for other prompts). coherence: mean share of
    coherent answers. kl, kl_p95: KL(steered ‖ unsteered) in nats, mean and 95th percentile over rows (see `effects`).
    n, missing: rows with and without a value. Warns below 20 groups.

    What comes before the first steered token is run once for all strengths and random directions.

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
    run = Doses(model, examples, measure, doses, unit, span, batch_tokens, other_model, progress)
    own, *null = run([direction, *(direction.random_like(seed + draw) for draw in range(random_draws))])
    rows = [point("direction", dose, own, examples) for dose in doses]
    for dose in doses if null else []:
        mean = {dose: sum(table[dose] for table in null) / len(null) for dose in (0.0, dose)}
        means = [float(table[dose]["value"].mean()) for table in null]
        rows.append(point("random", dose, mean, examples) | {"low": min(means), "high": max(means)})
    if prompted is not None:
        asked = effects(model, prompted, measure, batch_tokens=batch_tokens, progress=progress)
        unpaired = {"change": np.nan, "change_low": np.nan, "change_high": np.nan}
        rows.append(point("prompt", 0.0, {0.0: asked.assign(kl=np.nan)}, prompted) | unpaired)
    table = pd.DataFrame(rows)
    table.insert(0, "measure", measure.name)
    table["unit"], table["site"], table["span"] = unit, str(direction.site), span
    return table
