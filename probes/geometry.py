"""Geometry: how directions lie to each other, and how well the data determine one."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lens.activations import Activations
from lens.errors import DataError
from lens.intervals import percentiles
from lens.sites import Site
from probes.base import LinearProbe
from probes.direction import Direction
from probes.fit import check_labels, fit


def mean(directions: Sequence[Direction]) -> Direction:
    """The direction whose score is the mean of the scores. Raises what adding them raises; DataError for none."""
    if not directions:
        raise DataError("A mean of directions needs at least one.")
    total = directions[0]
    for other in directions[1:]:
        total = total + other
    return total * (1 / len(directions)) if len(directions) > 1 else total


def cosines(directions: Mapping[str, Direction] | Sequence[Direction]) -> pd.DataFrame:
    """Cosines between directions, as a square table with their names (for a sequence: their sites).

    Raises DataError: names that repeat. ArtifactError: widths that differ.
    """
    named = directions if isinstance(directions, Mapping) else {str(one.site): one for one in directions}
    if len(named) != len(directions) or not named:
        raise DataError("Each direction needs a name of its own: give a dictionary from names to directions.")
    table = [[one.cosine(other) for other in named.values()] for one in named.values()]
    return pd.DataFrame(table, index=list(named), columns=list(named))


def reliability(
    acts: Activations,
    site: str | Site,
    probe: str | LinearProbe = "mean_difference",
    *,
    splits: int = 50,
    seed: int = 0,
) -> dict[str, float]:
    """Split-half reliability of a direction: its cosine when fitted twice, on halves of the groups.

    split_half: mean cosine over random halves, low and high: its central 95 %. full: the cosine that two fits on as
    many rows as these would have (Spearman, 1910; Brown, 1910), `2r / (1 + r)`.

    Raises DataError: fewer than 4 groups, or halves without both classes.
    """
    labels, groups = check_labels(acts), acts.groups.astype(str)
    names = np.unique(groups)
    if len(names) < 4:
        raise DataError(f"Split halves need at least 4 groups; given: {len(names)}.")
    random = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(20 * splits):
        half = np.isin(groups, random.permutation(names)[: len(names) // 2])
        if all(len(set(labels[part])) == 2 for part in (half, ~half)):
            one, other = (fit(acts.select(part), site, probe).direction for part in (half, ~half))
            found.append(one.cosine(other))
        if len(found) == splits:
            break
    if len(found) < splits:
        raise DataError("Halves of the groups seldom hold both classes; give groups that hold both.")
    values = np.array(found)
    low, high = percentiles(values, 0.95)
    r = float(values.mean())
    return {"split_half": r, "low": low, "high": high, "full": 2 * r / (1 + r) if r > -1 else -1.0}


def project(acts: Activations, directions: Mapping[str, Direction]) -> pd.DataFrame:
    """Coordinates `v · h` of every row along directions, one column each, beside label and group."""
    columns = {name: one.project(acts[one.site]).numpy().astype(float) for name, one in directions.items()}
    known = acts.examples.frame[["label", "group"]]
    return pd.concat([known, pd.DataFrame(columns, index=known.index)], axis=1)
