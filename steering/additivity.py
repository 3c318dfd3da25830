"""Additivity: what interventions do together, beside the sum of what each does alone."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import FEW_GROUPS
from lens.model import Model
from steering.effects import effects
from steering.interventions import Intervention
from steering.measures import Measure
from steering.paired import paired

WHOLE, PARTS, INTERACTION = "together", "sum of parts", "interaction"


def additivity(
    model: Model,
    examples: Examples,
    measure: Measure,
    *interventions: Intervention,
    names: Sequence[str] | None = None,
    seed: int = 0,
    batch_tokens: int = 8192,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Each intervention alone, all of them together in the order given, and what the whole is beside its parts.

        alone_k = m(row under k) − m(row),     together = m(row under 1, …, K) − m(row)
        interaction = together − Σ_k alone_k,     row by row

    One row per arm: kind `alone` (arm: its name), `together`, `sum` and `interaction`; change, with low and high, its
    cluster-bootstrap 95 % interval over groups; p: sign flips over groups; coherence; n: the rows that have a value
    in every arm, on which all figures are; missing: the rows without one in this arm.

    A measure between bounds is not additive, however additive the model is: two changes of a probability by .6 cannot
    add up. Log-odds have no bounds.

    Raises DataError: fewer than two interventions, or names that repeat or are not as many. Warns below 20 groups.
    """
    if len(interventions) < 2:
        raise DataError(f"Additivity is about two interventions or more; given: {len(interventions)}.")
    for one in interventions:
        one.check_model(model, other_model=other_model)
    named = list(names) if names is not None else [f"{k}. {_spelled(one)}" for k, one in enumerate(interventions, 1)]
    if not len(set(named) - {WHOLE, PARTS, INTERACTION}) == len(named) == len(interventions):
        raise DataError(f"A name for each of {len(interventions)} interventions is needed; given: {available(named)}.")
    groups = examples.groups
    if len(set(groups)) < FEW_GROUPS:
        warnings.warn(
            f"Only {len(set(groups))} groups: bootstrap intervals are too narrow below {FEW_GROUPS}, go by p.",
            stacklevel=2,
        )

    def run(*changes: Intervention) -> pd.DataFrame:
        return effects(
            model,
            examples,
            measure,
            *changes,
            batch_tokens=batch_tokens,
            other_model=other_model,
            progress=progress,
        )

    plain = run()["value"].to_numpy()
    tables = {name: run(one) for name, one in zip(named, interventions, strict=True)}
    tables[WHOLE] = run(*interventions)
    change = {name: table["value"].to_numpy() - plain for name, table in tables.items()}
    whole = ~np.isnan(np.stack(list(change.values()))).any(axis=0)
    total = np.sum([change[name] for name in named], axis=0)
    arms = {name: ("alone", change[name]) for name in named}
    arms |= {WHOLE: ("together", change[WHOLE]), PARTS: ("sum", total)}
    arms |= {INTERACTION: ("interaction", change[WHOLE] - total)}
    rows = []
    for name, (kind, values) in arms.items():
        found = paired(np.where(whole, values, np.nan), groups, seed=seed)
        coherence = float(tables[name]["coherence"].mean()) if name in tables else np.nan
        rows.append(
            {"arm": name, "kind": kind, **found, "coherence": coherence, "missing": int(np.isnan(values).sum())}
        )
    table = pd.DataFrame(rows)
    table.insert(0, "measure", measure.name)
    return table.assign(groups=len(set(groups)))


def _spelled(one: Intervention) -> str:
    return f"{type(one).__name__} at {', '.join(map(str, one.sites or one.home))}"
