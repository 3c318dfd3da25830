"""Reading: whether a state tells tests from deployment, whatever the text looks like.

    v = mean over formats f of (μ_1f − μ_0f)          μ_cf: mean state in context c (1: test) and format f
    score = (v · h − midpoint) / sd                    sd: of v · h within the cells

With the cells crossed, v holds nothing of the format. Folds keep cues whole: a probe is tested on words for the context
that it was not fitted on, and so are the baselines that read the text alone.

Source: Devbunova (2026) for the 2×2 of context and format; Nguyen et al. (2025) for the difference of means.
"""

import itertools
from collections.abc import Callable, Sequence
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedKFold

from lens.activations import Activations
from lens.errors import DataError, available
from lens.intervals import wilson
from lens.sites import Site
from lens.text_only import TEXT_ONLY, Fold, text_fold_scores
from probes.fit import fit
from probes.folds import grouped_folds
from probes.metrics import auroc_interval, auroc_within, p_value, permute_labels
from probes.strata import strata_of

FOLDS, INNER, RANDOM, PERMUTATIONS = 5, 3, 20, 999
TIE = 1e-9

Labels = Int[np.ndarray, " n"]


def within_format(
    X: Float[np.ndarray, "n d"], labels: Labels, form: np.ndarray
) -> tuple[Float[np.ndarray, " d"], float, float]:
    """v, midpoint and sd. Raises DataError: no format holds both contexts."""
    both = [name for name in np.unique(form) if len(set(labels[form == name])) == 2]
    if not both:
        raise DataError("No format holds both contexts: they cannot be told apart.")
    means = np.stack([[X[(form == name) & (labels == c)].mean(axis=0) for c in (0, 1)] for name in both])
    v = (means[:, 1] - means[:, 0]).mean(axis=0)
    along, rest = X @ v, []
    for name, c in itertools.product(both, (0, 1)):
        here = along[(form == name) & (labels == c)]
        rest.append(here - here.mean())
    return v, float((means.mean(axis=(0, 1))) @ v), float(np.concatenate(rest).std()) or 1.0


def learnable(labels: Labels, form: np.ndarray) -> bool:
    """Whether some format holds both contexts."""
    return any(len(set(labels[form == name])) == 2 for name in np.unique(form))


def scored(
    X: Float[np.ndarray, "n d"], labels: Labels, form: np.ndarray, new: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, " k"]:
    """Scores of new rows by the direction of others."""
    v, middle, spread = within_format(X, labels, form)
    return np.asarray((new @ v - middle) / spread)


def plan_of(labels: Labels, cues: np.ndarray, seed: int) -> list[Fold]:
    """Folds that keep cues whole. Raises DataError: fewer than 3 cues of a context."""
    counts = [len(set(cues[labels == c])) for c in (0, 1)]
    if min(counts) < 3:
        raise DataError(
            f"{counts[1]} cues of a test and {counts[0]} of deployment: at least 3 of each are needed, to learn from "
            "some, choose on others and test on the rest."
        )
    return folds_of(labels, cues, min(FOLDS, min(counts)), seed)


def inside(labels: Labels, cues: np.ndarray, seed: int) -> list[Fold]:
    """Folds of a training part, to choose a layer by."""
    return folds_of(labels, cues, max(2, min(INNER, *(len(set(cues[labels == c])) for c in (0, 1)))), seed)


def folds_of(labels: Labels, cues: np.ndarray, folds: int, seed: int) -> list[Fold]:
    """Folds that keep cues whole: as many of either context in each where a cue has but one, else by rows.

    Folds over cues are drawn in a fraction of the time that folds over rows take, and are wanted for every refit.
    """
    _, member = np.unique(cues.astype(str), return_inverse=True)
    context = np.bincount(member, labels) / np.bincount(member)
    if not np.isin(context, (0, 1)).all() or min(context.sum(), (1 - context).sum()) < folds:
        return grouped_folds(labels, cues, folds, seed, warned=True)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    plan = splitter.split(context, context)
    return [(np.flatnonzero(np.isin(member, train)), np.flatnonzero(np.isin(member, test))) for train, test in plan]


def nested(
    arrays: Sequence[Float[np.ndarray, "n d"]], labels: Labels, form: np.ndarray, cues: np.ndarray, plan: list[Fold],
    seed: int,
) -> tuple[Float[np.ndarray, "n 2"], list[int]]:  # fmt: skip
    """Out-of-fold scores, and each fold's layer, chosen inside its training cues. The second column is by probes that
    saw the other formats only."""
    out, chosen = np.full((len(labels), 2), np.nan), []
    for train, test in plan:
        within = inside(labels[train], cues[train], seed)
        found = [
            auroc_within(labels[train], out_of_fold(X[train], labels[train], form[train], within), form[train])
            for X in arrays
        ]
        best = int(np.flatnonzero(np.array(found) > max(found) - TIE)[0])
        chosen.append(best)
        X = arrays[best]
        out[test, 0] = scored(X[train], labels[train], form[train], X[test])
        for name in np.unique(form):
            fitted, held = train[form[train] != name], test[form[test] == name]
            if len(held) and any(len(set(labels[fitted][form[fitted] == one])) == 2 for one in np.unique(form[fitted])):
                out[held, 1] = scored(X[fitted], labels[fitted], form[fitted], X[held])
    return out, chosen


def out_of_fold(X: np.ndarray, labels: Labels, form: np.ndarray, plan: list[Fold]) -> np.ndarray:
    out = np.full(len(labels), np.nan)
    for train, test in plan:
        out[test] = scored(X[train], labels[train], form[train], X[test])
    return out


def by_layer(acts: Activations, form: np.ndarray, cues: np.ndarray, plan: list[Fold], seed: int) -> pd.DataFrame:
    """Each layer's out-of-fold AUROC within formats; to read, not to choose by and report."""
    rows = []
    for site in acts.sites:
        score = out_of_fold(acts.numpy(site).astype(np.float64), acts.labels, form, plan)
        low, high = auroc_interval(acts.labels, score, cues, seed=seed, strata=form)
        value = auroc_within(acts.labels, score, form)
        rows.append({"site": str(site), "layer": site.layer, "auroc": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def baselines(
    texts: list[str], arrays: Sequence[Float[np.ndarray, "n d"]], labels: Labels, form: np.ndarray, cues: np.ndarray,
    plan: list[Fold], seed: int,
) -> pd.DataFrame:  # fmt: skip
    """What the text alone gives on the same folds, and random directions that choose their layer and their sign on the
    training rows (mean over draws, low and high: their central 95 %)."""
    rows: list[dict[str, object]] = []
    for name in TEXT_ONLY:
        score = text_fold_scores(name, texts, labels, plan, seed=seed)
        low, high = auroc_interval(labels, score, cues, seed=seed, strata=form)
        rows.append({"reader": name, "auroc": auroc_within(labels, score, form), "low": low, "high": high})
    rng, found = np.random.default_rng(seed), []
    for _ in range(RANDOM):
        along = np.stack([X @ rng.standard_normal(X.shape[1]) for X in arrays])
        score = np.full(len(labels), np.nan)
        for train, test in plan:
            told = np.array([auroc_within(labels[train], one[train], form[train]) for one in along])
            best = int(np.argmax(np.abs(told - 0.5)))
            mean, spread = along[best, train].mean(), along[best, train].std() or 1.0
            score[test] = np.sign(told[best] - 0.5) * (along[best, test] - mean) / spread
        found.append(auroc_within(labels, score, form))
    low, high = np.quantile(found, [0.025, 0.975])
    rows.append({"reader": "random_direction", "auroc": float(np.mean(found)), "low": low, "high": high})
    return pd.DataFrame(rows)


def relabelled(labels: Labels, units: np.ndarray, seed: int, *, draws: int = PERMUTATIONS) -> list[Labels]:
    """Labels permuted over units of one label each, or within units of both: the labels that there are, then so many
    draws, or all other arrangements where they are no more."""
    names, member = np.unique(units.astype(str), return_inverse=True)
    held = [set(labels[member == number]) for number in range(len(names))]
    ones = [number for number, both in enumerate(held) if both == {1}]
    if all(len(both) == 1 for both in held) and comb(len(names), len(ones)) <= draws + 1:
        found = [labels]
        for chosen in itertools.combinations(range(len(names)), len(ones)):
            if list(chosen) != ones:
                found.append(np.isin(member, chosen).astype(labels.dtype))
        return found
    return [labels, *(permute_labels(labels, units, seed + 1 + draw) for draw in range(draws))]


def permuted(statistic: Callable[[Labels], float], labels: Labels, units: np.ndarray, seed: int) -> float:
    """One-sided p of a statistic of the labels: the share of arrangements that give as much, the real one included.
    Of values that owe nothing to the labels, such as answers; scores fitted on them are made anew (see `refit`)."""
    first, *others = relabelled(labels, units, seed)
    return p_value(np.array([statistic(one) for one in others]), statistic(first))


def flag_cells(
    train: Activations, test: Activations, site: str | Site, *, form: str = "format", probe: str = "mean_difference"
) -> pd.DataFrame:
    """What two probes call a test, in each of the four cells of a 2×2 of context (the label) and format.

    `confounded` is fitted where context and format go together, `decorrelated` on as many rows of all cells. Columns:
    probe, context, format, flagged with its Wilson interval, n. A probe that goes by the format flags deployment in the
    format of tests, and misses tests in the other. in_distribution: its accuracy on test rows of its own kind.

    Raises DataError: no such column, more or fewer than two formats, an empty cell, or context and format that cannot
    be told apart in the test rows.
    """
    strata_of(test.examples, [form])
    names = sorted(set(train.examples.frame[form].astype(str)))
    if len(names) != 2:
        raise DataError(f"A 2×2 has two formats; column {form!r} has {available(names)}.")
    kinds = [(one.labels, one.examples.frame[form].astype(str).to_numpy() == names[1]) for one in (train, test)]
    cells = [np.flatnonzero((kinds[0][0] == c) & (kinds[0][1] == f)) for c in (0, 1) for f in (False, True)]
    if min(map(len, cells)) < 2:
        raise DataError(f"A cell of the training rows has fewer than 2 rows; they have {list(map(len, cells))}.")
    together = np.sort(np.concatenate([cells[0], cells[3]]))
    crossed = np.sort(np.concatenate([cell[::2] for cell in cells]))
    labels, exam = kinds[1]
    rows = []
    for name, chosen in (("confounded", together), ("decorrelated", crossed)):
        direction = fit(train.select(chosen), site, probe).direction
        flagged = direction.score_activations(test).numpy() > 0
        own = exam == (labels == 1) if name == "confounded" else np.ones(len(labels), dtype=bool)
        accuracy = float((flagged == labels)[own].mean())
        for c, f in itertools.product((1, 0), (1, 0)):
            cell = flagged[(labels == c) & (exam == bool(f))]
            low, high = wilson(int(cell.sum()), len(cell))
            rate = float(cell.mean()) if len(cell) else float("nan")
            context = "test" if c else "deployment"
            row = {"probe": name, "context": context, "format": names[f], "flagged": rate, "low": low, "high": high}
            rows.append(row | {"n": len(cell), "in_distribution": accuracy})
    return pd.DataFrame(rows)
