"""Sweeps for several classes and for graded targets: every site, and a p-value that pays for choosing the best.

    p = (1 + #{draws: max over cells of the permuted sweep ≥ observed}) / (1 + draws)

The labels of a draw are the same at every site, so that a draw is one whole permuted sweep.
"""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.activations import Activations
from lens.errors import DataError
from lens.progress import bar
from lens.sites import Site
from lens.text_only import TEXT_ONLY
from probes.base import Probe
from probes.fit import make, name_of
from probes.folds import warn_few
from probes.graded import graded, make_graded
from probes.metrics import p_value
from probes.multiclass import one_vs_rest
from probes.ordinal import Ordinal
from probes.ridge_regression import RidgeRegression


def sweep_classes(
    acts: Activations,
    labels: str | Sequence[str],
    probes: "str | Probe | Sequence[str | Probe]" = "logistic",
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """`one_vs_rest` at every site, for every value of one column or for several 0/1 columns.

    One row per site and probe: auroc, low, high: macro AUROC; accuracy, accuracy_low, accuracy_high, balanced,
    majority; p: against the best cell of each permuted sweep, p_cell: against the same cell; shuffled, random_high,
    matched_high, bag_of_words, char_ngrams, length, punctuation: means over classes. See `one_vs_rest`, which gives the
    classes and their directions at the site that is chosen.

    Raises what `one_vs_rest` raises. Warns below 20 groups.
    """
    chosen = [probes] if isinstance(probes, str | Probe) else list(probes)
    for probe in chosen:
        make(probe)
    warn_few(acts.groups)
    options: dict[str, Any] = {"permutations": permutations, "random_draws": random_draws, "seed": seed}
    rows, null = [], []
    for site, probe in _cells(acts, chosen, progress):
        with _warned():
            found = one_vs_rest(acts, site, labels, probe, folds=folds, **options)
        means = found.table[["shuffled", "random_high", "matched_high", *TEXT_ONLY]].mean().to_dict()
        whole = found.summary.iloc[0].to_dict()
        named = {"site": str(site), "probe": name_of(probe)}
        rows.append(named | {name: whole[name] for name in whole if name not in ("p", "probe")} | means)
        null.append(found.null.mean(axis=1))
    return _with_p(rows, "auroc", np.array(null))


def sweep_graded(
    acts: Activations,
    target: str,
    probes: "str | RidgeRegression | Ordinal | Sequence[str | RidgeRegression | Ordinal]" = "ridge",
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """`graded` at every site, for the numbers in a column.

    One row per site and probe: spearman, low, high; r2, r2_low, r2_high; p: against the best cell of each permuted
    sweep, p_cell: against the same cell; shuffled: mean over permutations; random_high, matched_high: 97.5th percentile
    over random directions; bag_of_words, char_ngrams, length, punctuation: the text alone. See `graded`, which gives
    levels and direction at the site that is chosen.

    Raises what `graded` raises. Warns below 20 groups.
    """
    chosen = [probes] if isinstance(probes, str | RidgeRegression | Ordinal) else list(probes)
    for probe in chosen:
        make_graded(probe)
    warn_few(acts.groups)
    options: dict[str, Any] = {"permutations": permutations, "random_draws": random_draws, "seed": seed}
    rows, null = [], []
    for site, probe in _cells(acts, chosen, progress):
        with _warned():
            found = graded(acts, site, target, probe, folds=folds, **options)
        table = found.table.set_index("detector")
        own = table.loc["probe"].drop("p").to_dict()
        named = {"site": str(site), "probe": probe if isinstance(probe, str) else repr(probe)}
        controls = {"shuffled": float(found.null.mean()) if permutations else np.nan}
        controls |= {f"{kind}_high": table.loc[f"{kind}_direction", "high"] for kind in ("random", "matched")}
        rows.append(named | own | controls | {name: table.loc[name, "spearman"] for name in TEXT_ONLY})
        null.append(found.null)
    return _with_p(rows, "spearman", np.array(null))


@contextmanager
def _warned() -> Iterator[None]:
    """Few groups have been warned about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only .* groups")
        yield


def _cells(acts: Activations, chosen: Sequence[Any], progress: bool) -> Iterator[tuple[Site, Any]]:
    """Each site with each probe, behind a bar."""
    if not chosen:
        raise DataError("No probe was given: there is nothing to sweep.")
    cells = list(itertools.product(acts.sites, chosen))
    with bar("Sweeping", total=len(cells), shown=progress) as advance:
        for cell in cells:
            yield cell
            advance(1)


def _with_p(rows: Sequence[dict[str, Any]], value: str, null: Float[np.ndarray, "cells draws"]) -> pd.DataFrame:
    """The table with p and p_cell after the interval."""
    table = pd.DataFrame(rows)
    best = null.max(axis=0)
    known = bool(null.size)
    for place, against in enumerate((lambda _: best, lambda number: null[number])):
        found = [p_value(against(k), table[value][k]) if known else np.nan for k in range(len(table))]
        table.insert(table.columns.get_loc("high") + 1 + place, ("p", "p_cell")[place], found)
    return table
