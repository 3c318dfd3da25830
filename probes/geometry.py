"""Geometry: how directions lie to each other, and how well the data determine one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lens.activations import Activations
from lens.errors import ArtifactError, DataError, available
from lens.intervals import percentiles
from lens.sites import Site
from probes.base import LinearProbe
from probes.direction import Direction, basis_of
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


@dataclass(frozen=True, eq=False)
class Purified:
    """A direction with less of others in it, and what that cost. Made by `purify`.

    cosines: one row per contaminant, its cosine with the direction `before` and `after`. kept: cosine of the new
    direction with the old one. residual: length of what the formula leaves of the unit vector, before it is made a
    unit vector again.
    """

    direction: Direction
    cosines: pd.DataFrame
    kept: float
    residual: float


def purify(
    direction: Direction,
    contaminants: Mapping[str, Direction] | Sequence[Direction],
    *,
    mode: Literal["project", "contrast"] = "project",
    weight: float = 1.0,
) -> Purified:
    """Take other directions out of one, by projection or by contrast.

        project     v′ ∝ v − weight · Q Qᵀ v        Q: orthonormal basis of the contaminants cⱼ
        contrast    v′ ∝ v + weight · u             u ∝ δ v − meanⱼ δⱼ cⱼ,     |u| = 1,     δ: `difference`

    Projected with weight 1, the contaminants are at right angles to what is left. The contrast moves the direction
    away from them, more where they are nearer, and not to a right angle: for one contaminant of equal δ at cosine r,
    weight r/√((1 − r)/2) would. Where all were fitted by difference of means against the same rows of label 0, u is the
    direction from the mean activations of the contaminants' label 1 to those of its own.

    Right angles are no independence: measure what the direction moves before and after (`steering.dose_response`).
    Threshold, difference and neutral value of the result are unknown (nan) until `Direction.recentred`.

    Raises DataError: no contaminant, an unknown mode, a weight that is not above 0. ArtifactError: another site, width
    or model; nothing left; for the contrast, directions without `difference`, or equal ones.

    Source: Personality as a Probe for LLM Evaluation (2025): the contrast of its text, the projection of its code.
    """
    named = contaminants if isinstance(contaminants, Mapping) else {str(k): one for k, one in enumerate(contaminants)}
    if not named:
        raise DataError("Nothing to take out: give at least one contaminant.")
    if mode not in ("project", "contrast"):
        raise DataError(f"Unknown mode {mode!r}; available: project, contrast.")
    if not weight > 0:
        raise DataError(f"weight={weight}: a weight above 0 is needed.")
    for other in named.values():
        direction.check_same_place(other)
    v = direction.vector.double()
    if mode == "project":
        basis = basis_of(list(named.values()))
        left = v - weight * basis @ (basis.T @ v)
    else:
        left = v + weight * _contrast(direction, named)
    length, nan = float(left.norm()), float("nan")
    if length < 1e-6:
        raise ArtifactError(f"{direction!r} lies in the span of the others: nothing is left of it.")
    methods = ", ".join(one.provenance.method for one in named.values())
    pure = replace(
        direction,
        vector=(left / length).float(),
        norm=direction.norm * length,
        bias=nan,
        difference=nan,
        neutral=nan,
        provenance=replace(
            direction.provenance, method=f"{direction.provenance.method} purified by {mode} of ({methods})"
        ),
        log_odds=False,
    )
    angles = {name: (direction.cosine(one), pure.cosine(one)) for name, one in named.items()}
    table = pd.DataFrame.from_dict(angles, orient="index", columns=["before", "after"])
    return Purified(pure, table, direction.cosine(pure), length)


def _contrast(direction: Direction, named: Mapping[str, Direction]) -> Tensor:
    """The unit vector from the mean difference of the contaminants to that of the direction."""
    unknown = [name for name, one in {"the direction itself": direction, **named}.items() if np.isnan(one.difference)]
    if unknown:
        raise ArtifactError(f"A contrast needs the difference of class means; unknown for {available(unknown)}.")
    others = torch.stack([one.difference * one.vector.double() for one in named.values()])
    apart = direction.difference * direction.vector.double() - others.mean(dim=0)
    if float(apart.norm()) < 1e-6 * direction.difference:
        raise ArtifactError(f"{direction!r} is the mean of what is to be taken out: there is no contrast.")
    return apart / apart.norm()


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
