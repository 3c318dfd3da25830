"""Elasticity: how much behaviour moves with how test-like a prompt reads.

    numerator     mean change of the outcome, in its own unit (a rate)
    denominator   mean change of the probe's score, in standard deviations of the scores before
    elasticity    numerator / denominator

Both are published beside their ratio. Where the score does not move (its interval holds 0) there is no ratio: 0 if
behaviour does not move either, else missing.

Source: Probe-Rewrite-Evaluate (2025) has an Awareness Elasticity whose formula was not to be seen: this one is
operationalised here and unverified, and its values are not comparable with that paper's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lens.errors import DataError
from lens.examples import Prompt
from lens.intervals import group_counts, percentiles

Rewriter = Callable[[Any], Any]
# Outcomes and scores that move by less have not moved.
STILL, ROUNDING = 1e-3, 1e-12


def elasticity(
    outcome: tuple[np.ndarray, np.ndarray],
    score: tuple[np.ndarray, np.ndarray],
    groups: np.ndarray,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Numerator, denominator and their ratio, each with its cluster-bootstrap 95 % interval; n and missing rows.

    outcome, score: before and after, row by row; nan where there is none.

    Raises DataError: sides of different lengths, no row with all four, scores before that are all the same.
    """
    sides = [np.asarray(one, dtype=float) for one in (*outcome, *score)]
    if len({len(one) for one in (*sides, groups)}) > 1:
        raise DataError(f"Outcomes, scores and groups are paired row by row; given: {[len(one) for one in sides]}.")
    known = ~np.isnan(np.stack(sides)).any(axis=0)
    if not known.any():
        raise DataError(f"None of {len(known)} rows has outcome and score, before and after.")
    was, now, low, high = (one[known] for one in sides)
    spread = float(low.std())
    if not spread > ROUNDING:
        raise DataError("All rows have the same score before: there is no scale to measure its change in.")
    change = np.stack([now - was, (high - low) / spread])
    weights = group_counts(groups[known], draws, seed)
    drawn = (weights @ change.T / weights.sum(axis=1, keepdims=True)).T
    found = change.mean(axis=1)
    row: dict[str, float] = {}
    for name, value, many in zip(("numerator", "denominator"), found, drawn, strict=True):
        ends = percentiles(many, 0.95)
        row |= {name: float(value), f"{name}_low": ends[0], f"{name}_high": ends[1]}
    still = {name: _holds_none(row, name) for name in ("numerator", "denominator")}
    if still["denominator"]:
        ratio = (0.0, 0.0, 0.0) if still["numerator"] else (float("nan"),) * 3
    else:
        ratio = (float(found[0] / found[1]), *percentiles(drawn[0] / drawn[1], 0.95))
    row |= dict(zip(("elasticity", "low", "high"), ratio, strict=True))
    return row | {"n": int(known.sum()), "missing": int((~known).sum())}


def _holds_none(row: dict[str, float], name: str) -> bool:
    return bool(row[f"{name}_low"] <= STILL and row[f"{name}_high"] >= -STILL)


def rewritten(rewrite: Rewriter, prompt: Prompt, row: int) -> list[Prompt]:
    """What a rewriter makes of a prompt: one, or several to choose from, of the same kind (text or chat).

    Raises DataError naming the row: it raised, or gave something else.
    """
    try:
        given = rewrite(prompt)
    except Exception as error:
        raise DataError(f"Row {row}: the rewriter failed: {error!r:.200}") from error
    single = isinstance(given, str) or (_listed(given) and given and all(isinstance(one, dict) for one in given))
    many = [given] if single else list(given) if _listed(given) else []
    if not many or not all(_like(one, prompt) for one in many):
        kind = "a text" if isinstance(prompt, str) else "messages"
        raise DataError(f"Row {row}: the rewriter gave {given!r:.80}; it gives {kind}, or a list of such.")
    return many


def called(rewriters: Mapping[str, Rewriter]) -> dict[str, str]:
    """What each function is called in its module; of what has no name of its own, its kind."""
    named = {what: one if hasattr(one, "__qualname__") else type(one) for what, one in sorted(rewriters.items())}
    return {what: f"{one.__module__}.{one.__qualname__}" for what, one in named.items()}


def _listed(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


def _like(given: Any, prompt: Prompt) -> bool:
    if isinstance(prompt, str):
        return isinstance(given, str) and bool(given.strip())
    return (
        isinstance(given, list)
        and bool(given)
        and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in given
        )
    )
