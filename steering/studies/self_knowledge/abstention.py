"""Abstention: whether a model declines where it should.

    DCS = (ℓ_c p_c − ℓ_w p_w)(1 − p_idk)        p_c, p_w, p_idk: right, wrong, and the answer that declines

from −1 to 1. It is no proper scoring rule (its best p_idk is 0 or 1): Brier score and abstention rate stand beside it.

    abstention rate = mean abstain,  answer rate = mean answered,  conditional accuracy = mean right where not abstained

Source: Burns, Measuring Language Model Hallucinations Through Distributional Correctness (2025); Bai et al., Concept
Incongruence (2025), for the three rates and the boundary probe.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.errors import DataError
from lens.intervals import mean_interval, wilson
from probes.base import Probe
from probes.fit import make
from probes.folds import cross_scores, grouped_folds


def dcs(
    share: Float[np.ndarray, "n k"], groups: np.ndarray, *, gain: float = 1.0, loss: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """DCS with Brier score, accuracy and abstention, each with its cluster-bootstrap 95 % interval over groups.

    share [n, k]: probabilities of the right answer (column 0), the wrong ones, and declining (the last). gain, loss:
    ℓ_c ≥ ℓ_w ≥ 0. Brier: mean squared error of P(right among answers given) against 1.

    Raises DataError: fewer than three columns, or gain and loss out of order.
    """
    if share.shape[1] < 3:
        raise DataError(
            f"DCS needs right, wrong and declining answers: three columns or more; given: {share.shape[1]}."
        )
    if not gain >= loss >= 0:
        raise DataError(f"DCS needs gain ≥ loss ≥ 0; given: gain {gain}, loss {loss}.")
    right, unsure = share[:, 0], share[:, -1]
    answered = right / np.maximum(1 - unsure, 1e-12)
    values = {
        "DCS": (gain * right - loss * share[:, 1:-1].sum(axis=1)) * (1 - unsure),
        "Brier": (1 - answered) ** 2,
        "accuracy, answering": answered,
        "accuracy": right,
        "abstention": unsure,
    }
    rows = []
    for name, each in values.items():
        low, high = mean_interval(each, groups, seed=seed)
        rows.append({"score": name, "value": float(each.mean()), "low": low, "high": high})
    return pd.DataFrame(rows)


def abstention_rates(frame: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Abstention rate, answer rate and conditional accuracy, for each value of the columns `by` (such as a character,
    and before or after the boundary of what it can know), with Wilson 95 % intervals.

    frame: columns abstain, answered, right (0/1, one row per reply; right is read only where it did not abstain).
    Raises DataError: a column is missing, or holds something else.
    """
    for column in ("abstain", "answered", "right", *by):
        if column not in frame:
            raise DataError(f"No column {column!r}; available: {', '.join(map(str, frame.columns))}.")
    for column in ("abstain", "answered", "right"):
        if not frame[column].isin([0, 1]).all():
            raise DataError(f"Column {column!r} holds something else than 0 and 1.")
    parts: list[tuple[Any, pd.DataFrame]] = list(frame.groupby(list(by), sort=False)) if by else [((), frame)]
    rows = []
    for values, part in parts:
        kept = part[part["abstain"] == 0]
        row: dict[str, Any] = dict(zip(by, values if isinstance(values, tuple) else (values,), strict=True))
        for name, hits in (("abstain", part["abstain"]), ("answered", part["answered"]), ("right", kept["right"])):
            low, high = wilson(int(hits.sum()), len(hits))
            row |= {name: float(hits.mean()) if len(hits) else np.nan, f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"n": len(part), "n_answered": len(kept)})
    return pd.DataFrame(rows)


def boundary_probe(
    X: Float[np.ndarray, "n d"],
    distance: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    probe: str | Probe = "logistic",
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """A state that should flip at a known threshold: out-of-fold accuracy of "after or before" by distance from it.

    distance: of each row from the boundary, negative before it (a row at 0 is left out: it has no side). Where the
    state is exact, accuracy is 1 at any distance; where it is blurred, it rises with |distance| from a half.

    Columns distance (absolute), accuracy, low, high (Wilson), n. Raises DataError: rows on one side only.
    """
    sided = distance != 0
    labels = (distance[sided] > 0).astype(int)
    if len(set(labels.tolist())) < 2:
        raise DataError("All rows lie on one side of the boundary; a probe of it needs both.")
    plan = grouped_folds(labels, groups[sided], folds, seed)
    score = cross_scores(X[sided].astype(np.float64), labels, plan, make(probe))
    hit = ((score > 0).astype(int) == labels).astype(int)
    rows = []
    away = np.abs(distance[sided])
    for far in np.unique(away):
        mine = hit[away == far]
        low, high = wilson(int(mine.sum()), len(mine))
        rows.append({"distance": float(far), "accuracy": float(mine.mean()), "low": low, "high": high, "n": len(mine)})
    return pd.DataFrame(rows)
