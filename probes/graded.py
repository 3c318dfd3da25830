"""Graded targets: how well a number (a trait's level, a frequency) can be read from activations, and along which way.

    Spearman ρ = correlation of the ranks of out-of-fold predictions and targets
    R² = 1 − Σᵢ (yᵢ − ŷᵢ)² / Σᵢ (yᵢ − mean of y in the training rows of i's fold)²

ρ asks for the order alone, R² for the values, too; R² is below 0 where the training mean is the better guess. Folds
keep groups whole and are stratified by whether the target is above its mean.

Source: Spearman, The Proof and Measurement of Association between Two Things (1904).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import stats
from sklearn.base import clone

from lens.activations import Activations
from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import group_counts, mean_interval, percentiles
from lens.sites import Site
from lens.spans import Span
from lens.text_only import TEXT_ONLY, Fold, text_fold_scores
from probes.controls import matched_scores, oriented, random_directions
from probes.direction import Direction
from probes.folds import grouped_folds
from probes.metrics import p_value, permute_labels
from probes.midranks import spearman_draws
from probes.ordinal import Ordinal
from probes.provenance import provenance_of
from probes.ridge_regression import RidgeRegression

GRADED: dict[str, Callable[[], RidgeRegression | Ordinal]] = {"ridge": RidgeRegression, "ordinal": Ordinal}
# Up to so many different values, each is a level of its own.
LEVELS = 12


@dataclass(frozen=True)
class Graded:
    """What `graded` found. direction: fitted on all rows; its score is the prediction less the mean of the target.
    levels: mean out-of-fold prediction at each value of the target (in tenths of the rows where there are many), with
    its cluster-bootstrap interval. null: ρ on the targets of each permutation."""

    direction: Direction
    table: pd.DataFrame
    levels: pd.DataFrame
    null: Float[np.ndarray, " draws"]


def graded(
    acts: Activations,
    site: str | Site,
    target: str,
    probe: str | RidgeRegression | Ordinal = "ridge",
    *,
    folds: int = 5,
    permutations: int = 100,
    random_draws: int = 100,
    seed: int = 0,
) -> Graded:
    """A probe for the numbers in a column, e.g. `"level"`: `"ridge"`, `"ordinal"`, or one made by hand.

    table, one row per detector. `probe`: spearman, low, high and r2, r2_low, r2_high out of fold, with 95 %
    cluster-bootstrap intervals over groups; p: one-sided permutation p-value of spearman, targets permuted from group
    to group, or within groups that hold several (these keep their values: p is strict, `shuffled` may lie above 0).
    `shuffled`, `random_direction`, `matched_direction`: mean over draws and their central 95 % (see `probes.controls`).
    `bag_of_words`, `char_ngrams`, `length`, `punctuation`: what the text alone tells about whether the target is above
    its mean, against the target itself.

    Raises DataError: a missing column or value, values that are no numbers, fewer than three of them, too few groups.
    Warns below 20 groups.
    """
    estimator = make_graded(probe)
    y = _targets(acts.examples, target)
    X, groups = acts.numpy(site).astype(np.float64), acts.groups
    if not np.isfinite(X).all():
        raise DataError(f"Activations at {site} hold values that are not finite (nan or infinite).")
    above = _above(y)
    plan = grouped_folds(above, groups, folds, seed)
    predicted, guess = _cross_predict(X, y, plan, estimator)
    rho = float(spearman(y, predicted))
    values, codes = np.unique(y, return_inverse=True)
    null = np.zeros(permutations)
    for draw in range(permutations):
        shuffled = values[permute_labels(codes, groups, seed + draw + 1)]
        own = grouped_folds(_above(shuffled), groups, folds, seed, warned=True)
        null[draw] = float(spearman(shuffled, _cross_predict(X, shuffled, own, estimator)[0]))
    low, high = _interval(y, predicted, groups, seed)
    row: dict[str, object] = {"detector": "probe", "spearman": rho, "low": low, "high": high}
    row |= dict(zip(("r2", "r2_low", "r2_high"), _r2(y, predicted, guess, groups, seed), strict=True))
    row["p"] = p_value(null, rho) if permutations else np.nan
    random = oriented(X @ random_directions(X.shape[1], random_draws, seed), above, plan)
    matched = matched_scores(X, above, plan, draws=random_draws, seed=seed)
    rows = [row]
    drawn = {
        "shuffled": null,
        "random_direction": spearman(y, random),
        "matched_direction": spearman(y, matched),
    }
    for name, found in drawn.items():
        if len(found):
            low, high = percentiles(found, 0.95)
            rows.append({"detector": name, "spearman": float(found.mean()), "low": low, "high": high})
    texts = acts.examples.texts(response=Span.parse(acts.source.span).reads_response)
    for name in TEXT_ONLY:
        score = text_fold_scores(name, texts, above, plan, seed=seed)
        low, high = _interval(y, score, groups, seed)
        rows.append({"detector": name, "spearman": float(spearman(y, score)), "low": low, "high": high})
    table = pd.DataFrame(rows).assign(n=len(y), groups=len(set(groups)))
    return Graded(_direction(acts, site, target, y, estimator), table, _levels(y, predicted, groups, seed), null)


def make_graded(probe: str | RidgeRegression | Ordinal) -> RidgeRegression | Ordinal:
    """A probe for graded targets by name, or the one that is given. Raises DataError for an unknown name."""
    if not isinstance(probe, str):
        return probe
    if probe not in GRADED:
        raise DataError(f"Unknown probe {probe!r} of a graded target; available: {available(GRADED)}.")
    return GRADED[probe]()


def check_graded(examples: Examples, target: str, folds: int, seed: int = 0) -> None:
    """Raises what `graded` would, of the table alone: before activations are collected."""
    grouped_folds(_above(_targets(examples, target)), examples.groups, folds, seed, warned=True)


def spearman(y: Float[np.ndarray, " n"], scores: Float[np.ndarray, "n *m"]) -> Float[np.ndarray, "*m"]:  # noqa: F821
    """Spearman's ρ with each column of scores, ties at their mean rank; 0 where all are equal."""
    a, b = stats.rankdata(y), stats.rankdata(scores, axis=0)
    a, b = a - a.mean(), b - b.mean(axis=0)
    size = np.sqrt((a @ a) * (b * b).sum(axis=0))
    return np.divide(a @ b, size, out=np.zeros_like(size), where=size > 0)


def _targets(examples: Examples, target: str) -> Float[np.ndarray, " n"]:
    frame = examples.frame
    if target not in frame:
        raise DataError(f"No column {target!r} to predict; available: {available(frame.columns)}.")
    missing = frame[target].isna()
    if missing.any():
        raise DataError(
            f"Column {target!r} is missing in {int(missing.sum())} rows (the first is row {int(missing.argmax())}); "
            "select the rows that have it first."
        )
    try:
        y = frame[target].to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"Column {target!r} must hold numbers; it holds {available(frame[target].unique(), 4)}."
        ) from None
    if not np.isfinite(y).all():
        raise DataError(f"Column {target!r} holds values that are not finite.")
    if len(set(y)) < 3:
        raise DataError(
            f"Column {target!r} holds {available(sorted(set(y)))}; a graded target has three values or more (for two: "
            "probes.sweep, with positive=VALUE)."
        )
    return y


def _above(y: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return (y > y.mean()).astype(np.int64)


def _cross_predict(
    X: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, " n"],
    plan: Sequence[Fold],
    probe: RidgeRegression | Ordinal,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Out-of-fold predictions, and the training means beside them."""
    predicted, guess = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for train, test in plan:
        fitted = clone(probe).fit(X[train], y[train])
        predicted[test] = fitted.expectation(X[test]) if isinstance(fitted, Ordinal) else fitted.predict(X[test])
        guess[test] = y[train].mean()
    return predicted, guess


def _interval(
    y: Float[np.ndarray, " n"], scores: Float[np.ndarray, " n"], groups: np.ndarray, seed: int
) -> tuple[float, float]:
    return percentiles(spearman_draws(y, scores, group_counts(groups, 1000, seed)), 0.95)


def _r2(
    y: Float[np.ndarray, " n"],
    predicted: Float[np.ndarray, " n"],
    guess: Float[np.ndarray, " n"],
    groups: np.ndarray,
    seed: int,
) -> tuple[float, float, float]:
    left, total = (y - predicted) ** 2, (y - guess) ** 2
    weights = group_counts(groups, 1000, seed)
    return float(1 - left.sum() / total.sum()), *percentiles(1 - (weights @ left) / (weights @ total), 0.95)


def _levels(
    y: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"], groups: np.ndarray, seed: int
) -> pd.DataFrame:
    if len(set(y)) <= LEVELS:
        parts = [np.flatnonzero(y == value) for value in np.unique(y)]
    else:
        parts = np.array_split(np.argsort(y, kind="stable"), 10)
    rows = []
    for part in parts:
        low, high = mean_interval(predicted[part], groups[part], seed=seed)
        row = {"target": float(y[part].mean()), "predicted": float(predicted[part].mean()), "low": low, "high": high}
        rows.append(row | {"n": len(part)})
    return pd.DataFrame(rows)


def _direction(
    acts: Activations, site: str | Site, target: str, y: Float[np.ndarray, " n"], probe: RidgeRegression | Ordinal
) -> Direction:
    """On all rows. Steering needs two classes to speak of: rows above and rows below the mean of the target."""
    X, above = acts.numpy(site).astype(np.float64), _above(y)
    fitted = clone(probe).fit(X, y)
    norm = float(np.linalg.norm(fitted.coef_))
    if norm == 0:
        raise DataError(f"{probe!r} for {target!r} at {site} is zero: nothing there goes along with the target.")
    vector = fitted.coef_ / norm
    means = np.stack([X[above == value].mean(axis=0) for value in (0, 1)])
    return Direction(
        vector=torch.from_numpy(vector).float(),
        site=acts.site(site),
        norm=norm,
        bias=float(-fitted.coef_ @ X.mean(axis=0)),
        residual_norm=acts.residual_norm(site),
        difference=float(np.linalg.norm(means[1] - means[0])),
        neutral=float(means.mean(axis=0) @ vector),
        provenance=provenance_of(acts.source, len(y), method=f"{probe!r} ({target})"),
    )
