"""Compare: what a change of weights, or an intervention, does to a behaviour and what it costs elsewhere."""

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import FEW_GROUPS
from lens.model import Model
from probes.metrics import adjust
from steering.edits.change import Change
from steering.edits.in_force import edit
from steering.effects import effects
from steering.interventions import Intervention
from steering.measures import Measure
from steering.paired import paired


def compare(
    model: Model,
    change: Change | Intervention,
    examples: Examples | Mapping[str, Examples],
    measures: Mapping[str, Measure],
    *,
    seed: int = 0,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Every measure before and after, on the same rows; the model is left as it was.

        steering.compare(model, steering.Surgery(anger), {"strikes": acts, "even": sums}, measures)

    examples: one table for all measures, or one each by the measure's name. Per measure: `before`, `after` (means over
    rows measured both times), `change` with its cluster-bootstrap interval `low`, `high` over groups, `p` of a
    two-sided sign-flip test over groups, `p_holm` adjusted for the number of measures, `n`, `groups`, `missing`.

    Raises DataError: no measures, or no rows for one. The rest as `steering.edit` or `steering.apply`.

    Source: Holm, A simple sequentially rejective multiple test procedure (1979); the rest as `steering.paired`.
    """
    if not measures:
        raise DataError("Name at least one measure to compare.")
    rows = dict.fromkeys(measures, examples) if isinstance(examples, Examples) else dict(examples)
    if missing := [name for name in measures if name not in rows]:
        raise DataError(f"No rows for {available(missing)}; given: {available(rows)}.")
    if min(len(set(rows[name].groups.astype(str))) for name in measures) < FEW_GROUPS:
        warnings.warn(f"Fewer than {FEW_GROUPS} groups: trust p more than the interval.", stacklevel=2)
    before = _values(model, rows, measures, (), progress)
    if isinstance(change, Intervention):
        change.check_model(model, other_model=other_model)
        after = _values(model, rows, measures, (change,), progress)
    else:
        with edit(model, change, stack=True, other_model=other_model):
            after = _values(model, rows, measures, (), progress)
    found = []
    for name in measures:
        moved, groups = after[name] - before[name], rows[name].groups
        both = ~np.isnan(moved)
        found.append(
            {
                "measure": name,
                "before": _mean(before[name][both]),
                "after": _mean(after[name][both]),
                **paired(moved, groups, seed=seed),
                "groups": len(set(groups[both].astype(str))),
            }
        )
    table = pd.DataFrame(found)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", adjust(table["p"].to_numpy()))
    return table


def _values(
    model: Model,
    rows: Mapping[str, Examples],
    measures: Mapping[str, Measure],
    interventions: tuple[Intervention, ...],
    progress: bool,
) -> dict[str, Float[np.ndarray, " n"]]:
    found = {}
    for name, measure in measures.items():
        # Whether the interventions belong to this model was checked before.
        table = effects(model, rows[name], measure, *interventions, other_model=True, progress=progress)
        found[name] = table["value"].to_numpy(dtype=float)
    return found


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
