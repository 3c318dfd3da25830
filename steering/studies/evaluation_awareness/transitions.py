"""Transitions: what the same rows did before and after, and whether one way was more frequent than the way back.

    McNemar          b, c: rows that went one way and the other; under the null b ~ Binomial(b + c, ½); two answers
    Bowker           Σ_{i<j} (n_ij − n_ji)² / (n_ij + n_ji),  χ² with as many degrees of freedom as pairs that occur
    Stuart–Maxwell   dᵀ S⁻¹ d,  d_i = n_i· − n_·i,  S_ii = n_i· + n_·i − 2 n_ii,  S_ij = −(n_ij + n_ji),  χ² with k − 1

Bowker's asks whether the table is symmetric, Stuart and Maxwell's whether the totals are the same. p_exact: of the
same statistic where each changed row goes either way at even odds.

Source: McNemar (1947); Bowker, A Test for Symmetry in Contingency Tables (1948); Stuart (1955); Maxwell (1970).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from lens.errors import DataError
from probes.metrics import p_value

DRAWS = 9999
Answers = Sequence[Any] | np.ndarray | pd.Series | pd.api.extensions.ExtensionArray


@dataclass(frozen=True, eq=False)
class Transitions:
    """matrix: rows from each answer (index) to each (columns). tests: name, statistic, df, p, p_exact. missing: rows
    without an answer before or after, which are in neither."""

    matrix: pd.DataFrame
    tests: pd.DataFrame
    missing: int


def paired_transition_test(before: Answers, after: Answers, *, seed: int = 0) -> Transitions:
    """Transition matrix of paired answers, with McNemar's exact test where there are two, else Bowker's and
    Stuart–Maxwell's.

    An answer that could not be parsed is None, nan or pandas' NA: the row is counted as missing. Answers are the same
    where they are equal: 0 is 0.0, and not '0'.

    >>> paired_transition_test(["lie"] * 8 + [None], ["honest"] * 8 + ["lie"]).tests["p"].round(4).tolist()
    [0.0078]

    Raises DataError: sides of different lengths, no row with both answers, a single answer throughout.
    """
    if len(before) != len(after):
        raise DataError(f"{len(before)} answers before and {len(after)} after: they are paired row by row.")
    both: list[tuple[Any, Any]] = list(zip(list(before), list(after), strict=True))
    pairs = [(_value(a), _value(b)) for a, b in both if not (_missing(a) or _missing(b))]
    if not pairs:
        raise DataError(f"None of {len(before)} rows has an answer both before and after.")
    # Values, of which 0 and 0.0 are one; their texts are names only.
    values = sorted(dict.fromkeys(one for pair in pairs for one in pair), key=str)
    if len(values) < 2:
        raise DataError(f"Every answer is {values[0]!r}, before and after: there is nothing to compare.")
    place = {value: number for number, value in enumerate(values)}
    names = [str(value) for value in values]
    if len(set(names)) < len(names):
        names = [repr(value) for value in values]
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, tuple(np.array([[place[a], place[b]] for a, b in pairs]).T), 1)
    matrix = pd.DataFrame(counts, index=pd.Index(names, name="before"), columns=pd.Index(names, name="after"))
    rows = [_mcnemar(counts)] if len(names) == 2 else [_bowker(counts, seed), _stuart_maxwell(counts, seed)]
    return Transitions(matrix, pd.DataFrame(rows), len(before) - len(pairs))


def _missing(answer: Any) -> bool:
    """None, nan of any width, and what pandas has for them."""
    return bool(pd.api.types.is_scalar(answer) and pd.isna(answer))


def _value(answer: Any) -> Hashable:
    return answer if isinstance(answer, Hashable) else str(answer)


def _mcnemar(counts: Int[np.ndarray, "2 2"]) -> dict[str, object]:
    one, other = int(counts[0, 1]), int(counts[1, 0])
    p = float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0
    return {"test": "McNemar, exact", "statistic": float(one - other), "df": 1, "p": p, "p_exact": p}


def _bowker(counts: Int[np.ndarray, "k k"], seed: int) -> dict[str, object]:
    total = (counts + counts.T)[np.triu_indices(len(counts), 1)]
    return _row("Bowker", counts, _bowker_of(total), int((total > 0).sum()), seed)


def _stuart_maxwell(counts: Int[np.ndarray, "k k"], seed: int) -> dict[str, object]:
    # Its variance has rank k − 1, less where answers never change.
    df = int(np.linalg.matrix_rank(_variance(counts)))
    return _row("Stuart–Maxwell", counts, _stuart_maxwell_of(counts), df, seed)


def bowker_statistic(counts: Int[np.ndarray, "k k"]) -> float:
    """Σ_{i<j} (n_ij − n_ji)² / (n_ij + n_ji)"""
    upper = np.triu_indices(len(counts), 1)
    return float(_bowker_of((counts + counts.T)[upper])((counts - counts.T)[upper][None])[0])


def stuart_maxwell_statistic(counts: Int[np.ndarray, "k k"]) -> float:
    """dᵀ S⁻ d with the pseudo-inverse: the same whichever answer is left out."""
    return float(_stuart_maxwell_of(counts)((counts - counts.T)[np.triu_indices(len(counts), 1)][None])[0])


# Of n_ij − n_ji for the pairs i < j, [draws, pairs]. What changed either way, n_ij + n_ji, and so S, stays as it is.
Statistic = Callable[[np.ndarray], np.ndarray]


def _bowker_of(total: Int[np.ndarray, " pairs"]) -> Statistic:
    return lambda gap: (gap[:, total > 0] ** 2 / total[total > 0]).sum(axis=1)


def _stuart_maxwell_of(counts: Int[np.ndarray, "k k"]) -> Statistic:
    inverse, pairs = np.linalg.pinv(_variance(counts)), np.stack(np.triu_indices(len(counts), 1), axis=1)
    signs = np.eye(len(counts))[pairs[:, 0]] - np.eye(len(counts))[pairs[:, 1]]
    return lambda gap: np.einsum("ni,ij,nj->n", gap @ signs, inverse, gap @ signs)


def _variance(counts: Int[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    variance = -(counts + counts.T).astype(float)
    np.fill_diagonal(variance, counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts))
    return variance


def _row(name: str, counts: np.ndarray, statistic: Statistic, df: int, seed: int) -> dict[str, object]:
    upper = np.triu_indices(len(counts), 1)
    total, gap = (counts + counts.T)[upper], (counts - counts.T)[upper]
    drawn = 2 * np.random.default_rng(seed).binomial(total, 0.5, size=(DRAWS, len(total))) - total
    found = float(statistic(gap[None])[0])
    chance = float(stats.chi2.sf(found, df)) if df else 1.0
    exact = p_value(statistic(drawn), found)
    return {"test": name, "statistic": found, "df": df, "p": chance, "p_exact": exact}
