"""The working range: the strengths at which steering does something, keeps the model coherent, and does more of it."""

from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError, available

GROWTH = 0.1


def working_range(curve: pd.DataFrame, *, coherence: float | None = 0.9, growth: float = GROWTH) -> pd.DataFrame:
    """Where a dose curve can be used, for strengths above 0 and for those below.

    Along |a| from 0, with the paired change c(a), its interval and the coherence q(a) of the direction's arm:

        low   = the smallest |a| whose interval excludes 0; σ = the sign of c(low)
        slope = σ · (c(a) − c(a′)) / (|a| − |a′|),     a′: the strength before a; for low, 0
        knee  = the last strength from low on before a slope falls below growth · the steepest slope up to there
        high  = the last strength up to which, from low on, all of these hold: every interval is on the side of σ,
                q(a) ≥ coherence · q(0), and |a| ≤ knee

    A knee is where the effect stops growing, or turns round, known within a step of the strengths; beyond it, more
    strength buys side effects alone. coherence: None, where a measure has none.

    One row per side that was measured: side (`+` or `-`); low, high, knee, as strengths with their sign; change at
    high; ended_by: `knee`, `coherence`, `interval`, or `grid`, where the curve ends before any of them, so that high
    is not the end of the range; `no effect`, where no interval excludes 0; `incoherent`, where low is already: then low
    and high are nan.

    Raises DataError: no direction arm, no strength but 0, or a measure without coherence.
    """
    if "arm" not in curve or not (curve["arm"] == "direction").any():
        raise DataError(f"No arm 'direction' in the curve; columns: {available(curve.columns)}.")
    own = curve[curve["arm"] == "direction"].assign(size=lambda one: one["strength"].abs())
    plain = own[own["strength"] == 0]
    if len(plain) == 0 or len(own) == len(plain):
        raise DataError(f"A working range needs strength 0 and others; given: {available(own['strength'])}.")
    floor = -np.inf
    if coherence is not None:
        floor = coherence * float(plain["coherence"].iloc[0])
        if np.isnan(floor):
            raise DataError("This measure says nothing of coherence; pass coherence=None to do without it.")
    sides = {side: own[np.sign(own["strength"]) == sign] for side, sign in (("+", 1), ("-", -1))}
    return pd.DataFrame(
        [{"side": side} | _along(rows.sort_values("size"), floor, growth) for side, rows in sides.items() if len(rows)]
    )


def _along(rows: pd.DataFrame, floor: float, growth: float) -> dict[str, Any]:
    """One side, from small strengths to large ones."""
    strength, change = rows["strength"].to_numpy(), rows["change"].to_numpy()
    apart = (rows["change_low"] > 0).to_numpy() * 1 - (rows["change_high"] < 0).to_numpy() * 1
    found: dict[str, Any] = dict.fromkeys(("low", "high", "knee", "change"), np.nan)
    if not apart.any():
        return found | {"ended_by": "no effect"}
    first = int(np.flatnonzero(apart)[0])
    size = rows["size"].to_numpy()[first:]
    effect = apart[first] * change[first:]
    slopes = np.diff(effect, prepend=0.0) / np.diff(size, prepend=0.0)
    slow = np.flatnonzero(slopes < growth * np.maximum.accumulate(slopes))
    ends = {"grid": len(rows) - 1}
    if len(slow):
        ends["knee"] = first + int(slow[0]) - 1
        found["knee"] = strength[ends["knee"]]
    broken_by = {"coherence": (rows["coherence"] < floor).to_numpy(), "interval": apart != apart[first]}
    for name, broken_at in broken_by.items():
        broken = np.flatnonzero(broken_at[first:])
        if len(broken):
            ends[name] = first + int(broken[0]) - 1
    ended_by = min(("knee", "coherence", "interval", "grid"), key=lambda name: ends.get(name, len(rows)))
    if ends[ended_by] < first:
        return found | {"ended_by": "incoherent"}
    high = ends[ended_by]
    return found | {"low": strength[first], "high": strength[high], "change": change[high], "ended_by": ended_by}
