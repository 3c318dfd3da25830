"""Space: which axes are reported and controlled, and how far down the principal components that goes.

    dimension = the largest k of the components tried such that it and all tried before it pass;  0 if the first fails

The space that is monitored (or controlled) ends between it and the next component tried.

Source: the metacognitive space of Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from lens.intervals import group_counts

DRAWS = 1000


def dimension(passed: Bool[np.ndarray, "draws k"], tried: list[int]) -> Float[np.ndarray, " draws"]:
    """Of each row, the last component of the unbroken run from the first."""
    unbroken = np.logical_and.accumulate(passed, axis=1).sum(axis=1)
    return np.r_[0.0, np.array(tried, dtype=float)][unbroken]


def dimension_row(
    what: str, shown: Mapping[int, bool], resampled: Mapping[int, Bool[np.ndarray, " draws"]]
) -> dict[str, object]:
    """A row: the dimension by what was shown, its bootstrap interval, and the next component tried.

    resampled: for each component, in which resamples its own interval lies above its null (not adjusted).
    """
    tried = sorted(shown)
    own = float(dimension(np.array([[shown[k] for k in tried]]), tried)[0])
    each = dimension(np.stack([resampled[k] for k in tried], axis=1), tried)
    low, high = np.quantile(each, [0.025, 0.975])
    after = [k for k in tried if k > own]
    return {
        "what": what,
        "dimension": own,
        "low": float(low),
        "high": float(high),
        "next": float(after[0]) if after else np.nan,
        "tried": tried,
    }


def passes(
    values: Float[np.ndarray, " n"], groups: np.ndarray, null: float, *, draws: int = DRAWS, seed: int = 0
) -> Bool[np.ndarray, " draws"]:
    """In which resamples of groups the mean is above its null by 1.96 of its standard error."""
    weights = group_counts(groups, draws, seed)
    means = weights @ values / weights.sum(axis=1)
    return np.asarray(means - 1.96 * means.std() > null + 1e-9)


def component_of(axis: str) -> int | None:
    """k of the axis pcK, None of any other."""
    return int(axis[2:]) if axis.startswith("pc") and axis[2:].isdigit() else None


def space_table(claims: pd.DataFrame, names: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """One row per axis: what was shown of it. names: for each axis, the claim of each kind."""
    shown = dict(zip(claims["claim"], claims["shown"], strict=True))
    return pd.DataFrame(
        [{"axis": axis, **{kind: bool(shown[claim]) for kind, claim in kinds.items()}} for axis, kinds in names.items()]
    )
