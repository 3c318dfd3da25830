"""Rates: of every cell, true and false positives with their intervals; which cell is taken; and arms side by side.

    Wilson: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)
    difference of two rates: the square roots of both distances to the Wilson bounds, added in squares

Hits may be expected numbers, of probabilities.

Source: Wilson (1927); Newcombe, Interval estimation for the difference between independent proportions (1998).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

Z = float(stats.norm.ppf(0.975))


def rate(values: pd.Series) -> tuple[float, float, float, int]:
    """Mean, Wilson interval and number of the values that are not missing; (nan, 0, 1, 0) without any."""
    told = values.dropna().to_numpy(dtype=float)
    n = len(told)
    if n == 0:
        return np.nan, 0.0, 1.0, 0
    p = float(told.mean())
    middle, half = p + Z**2 / (2 * n), Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
    # Rounding must not leave a bound of a rate of 0 or 1 beside it.
    return p, 0.0 if p <= 0 else float(low), 1.0 if p >= 1 else float(high), n


def difference(first: pd.Series, second: pd.Series) -> tuple[float, float, float]:
    """The first rate less the second, with Newcombe's interval."""
    (p, p_low, p_high, n), (q, q_low, q_high, m) = rate(first), rate(second)
    if not (n and m):
        return np.nan, np.nan, np.nan
    below, above = np.hypot(p - p_low, q_high - q), np.hypot(p_high - p, q - q_low)
    return p - q, float(p - q - below), float(p - q + above)


def cells(grid: pd.DataFrame, sham: pd.DataFrame) -> pd.DataFrame:
    """A row per site and strength.

    tpr: replies that are coherent, claim to notice, and then name the word; fpr: sham replies that claim; their
    difference; claims: injected replies that claim; correct_given_claim: of those, the share that then names the word;
    identified: asked which, it names the word; about: replies that hold the word, whatever they claim (the careless
    score); coherent; verdict: replies with a yes or a no in them; missing: replies that a judge could not score.
    """
    return pd.DataFrame([_cell(rows, sham, *key) for key, rows in grid.groupby(["site", "strength"], sort=False)])


def _cell(rows: pd.DataFrame, sham: pd.DataFrame, site: Any, strength: Any) -> dict[str, object]:
    found: dict[str, object] = {"site": site, "strength": strength, "n": len(rows), "n_sham": len(sham)}
    claimed = rows["claims"] > 0
    given = (rows["success"] / rows["claims"])[claimed]
    named = {
        "tpr": rows["success"],
        "fpr": sham["claims"],
        "claims": rows["claims"],
        "correct_given_claim": given,
        "identified": rows["right"],
        "about": rows["about"],
        "coherent": rows["coherent"],
        "verdict": rows["verdict"],
    }
    for name, values in named.items():
        value, low, high, _ = rate(values)
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    gap, low, high = difference(rows["success"], sham["claims"])
    found |= {"tpr_minus_fpr": gap, "tpr_minus_fpr_low": low, "tpr_minus_fpr_high": high}
    return found | {"missing": int(rows["claims"].isna().sum())}


def chosen(grid: pd.DataFrame, sham: pd.DataFrame) -> tuple[str, float]:
    """The site and strength with the largest tpr − fpr on the validation half; of equals, where the word is named most
    often when asked, then where it is said most often, then where replies are coherent, then the strongest, where
    controls have most to say."""
    table = cells(grid[grid["half"] == "validation"], sham[sham["half"] == "validation"])
    by = ["tpr_minus_fpr", "identified", "about", "coherent", "strength"]
    # Equal rates of different sums may differ in their last digits.
    ranked = table[by].fillna(-1.0).round(9).sort_values(by, ascending=False, kind="stable")
    first = table.loc[ranked.index[0]]
    return str(first["site"]), float(first["strength"])


def arms(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per arm and measure, with Wilson intervals."""
    rows = []
    for arm, table in tables.items():
        for measure in ("claims", "success", "right", "about", "coherent"):
            if measure in table and table[measure].notna().any():
                value, low, high, n = rate(table[measure])
                rows.append({"arm": arm, "measure": measure, "value": value, "low": low, "high": high, "n": n})
    return pd.DataFrame(rows)
