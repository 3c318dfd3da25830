"""A dose-response curve: its points, and the strength that is taken from it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import mean_interval


def point(arm: str, dose: float, tables: Mapping[float, pd.DataFrame], examples: Examples) -> dict[str, object]:
    """A row of a dose-response table: what the rows did at one strength, against strength 0."""
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
        "kl": float(tables[dose]["kl"].mean()),
        "kl_p95": float(tables[dose]["kl"].quantile(0.95)),
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
