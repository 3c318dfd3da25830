"""Paired: what changed on the same rows, with its interval and p-value over groups."""

import numpy as np
from jaxtyping import Float

from lens.intervals import mean_interval
from probes.metrics import p_value

FLIPS = 10_000


def paired(change: Float[np.ndarray, " n"], groups: np.ndarray, *, seed: int = 0) -> dict[str, float]:
    """The mean of paired differences: change; low, high, its cluster-bootstrap 95 % interval over groups; p, that of
    the sign flip; n and missing, rows with and without a value (nan).

    All but `missing` are nan, and n is 0, where no row has a value.
    """
    present = ~np.isnan(change)
    low, high = mean_interval(change, groups, seed=seed)
    return {
        "change": float(change[present].mean()) if present.any() else np.nan,
        "low": low,
        "high": high,
        "p": sign_flip(change, groups, seed=seed),
        "n": int(present.sum()),
        "missing": int((~present).sum()),
    }


def sign_flip(change: Float[np.ndarray, " n"], groups: np.ndarray, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p-value of paired differences d by flipping the signs of whole groups; rows without a value left out.

        p = (1 + #{|T*| ≥ |T|}) / (1 + flips),     T = Σ_i d_i,     T* = Σ_g s_g Σ_{i ∈ g} d_i,     s_g = ±1 at random

    Valid for any number of groups where a group's changes are as likely as their negatives; it cannot fall below
    2^(1 − groups). 1 where nothing changed at all, nan where no row has a value.

    Source: Fisher, The Design of Experiments (1935), by groups; Phipson & Smyth (2010) for the 1 +.
    """
    present = ~np.isnan(change)
    if not present.any():
        return float("nan")
    _, member = np.unique(groups[present].astype(str), return_inverse=True)
    sums = np.bincount(member, weights=change[present])
    signs = np.random.default_rng(seed).integers(0, 2, size=(flips, len(sums))) * 2.0 - 1.0
    null, observed = np.abs(signs @ sums), abs(float(sums.sum()))
    # Two sums of the same numbers may differ in their last digits.
    return p_value(null, observed * (1 - 1e-9))
