"""Stability: how evenly and how much steering disturbs what it was not meant for."""

import pandas as pd

from lens.errors import DataError


def stability(table: pd.DataFrame) -> pd.DataFrame:
    """How evenly, and how much, each steered direction disturbs the reads that are not its own; a diagnostic.

        d_B = change(A → B) / R_B,     R_B = max − min of all changes of B in the table
        consistency = 1 / (1 + var(d)),     disturbance = mean |d|,     over the B that are not named as A

    A table from `spillover`; one row per steered direction. The two are not multiplied: a direction that disturbs
    everything alike is consistent. Both depend on what else is in the table, through R: where nothing moves a read but
    noise, noise counts as disturbance.

    Raises DataError: fewer than two steered directions (R_B needs them), or nothing read but its own.

    Source: Personality as a Probe for LLM Evaluation (2025); its disruption is 1 / (1 + disturbance).
    """
    known = table[table["change"].notna()]
    if known["steered"].nunique() < 2:
        raise DataError("Stability compares at least two steered directions; the table has values for fewer.")
    ranges = known.groupby(["kind", "read"])["change"].transform(lambda one: one.max() - one.min())
    # Where nothing moved a read, nothing disturbed it.
    d = (known["change"] / ranges.where(ranges > 0)).fillna(0.0)
    other = known.assign(d=d)[known["read"] != known["steered"]]
    if other.empty:
        raise DataError("Stability is about reads that are not the steered direction's own; the table has none.")
    rows = [
        {
            "steered": name,
            "consistency": float(1 / (1 + one["d"].var(ddof=0))),
            "disturbance": float(one["d"].abs().mean()),
            "reads": len(one),
        }
        for name, one in other.groupby("steered", sort=False)
    ]
    return pd.DataFrame(rows)
