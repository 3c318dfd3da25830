"""Several classes, or several labels at once: one probe and one direction for each, against all other rows.

    multiclass:   class(h) = argmax_k score_k(h)         score_k fitted on y = k against y ≠ k (one-vs-rest)
    multi-label:  label_k(h) = 1 where score_k(h) > 0    score_k fitted on column k alone (binary relevance)

    macro AUROC = 1/K Σ_k AUROC_k

Every class has folds of its own, stratified by it, that keep groups whole; so each score of a row comes from a probe
that has not seen its group. A permutation draws all classes of a row together.

Source: Rifkin & Klautau, In Defense of One-Vs-All Classification (2004).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens.activations import Activations
from lens.errors import DataError, available
from lens.examples import Examples
from lens.intervals import group_counts, mean_interval, percentiles
from lens.sites import Site
from lens.spans import Span
from lens.text_only import TEXT_ONLY, Fold, text_fold_scores
from probes.base import LogOdds, Probe
from probes.controls import matched_scores, oriented, random_directions
from probes.direction import Direction
from probes.fit import fit, make, name_of
from probes.folds import cross_scores, grouped_folds, warn_few
from probes.metrics import auroc, auroc_interval, p_value, permute_labels
from probes.midranks import auroc_draws


@dataclass(frozen=True)
class OneVsRest:
    """What `one_vs_rest` found. directions: one per class, fitted on all rows. confusion: rows of each class (index) by
    predicted class (columns); None for several labels, and for probes whose scores are no log-odds. null: AUROC of each
    class on the labels of each permutation."""

    directions: dict[str, Direction]
    table: pd.DataFrame
    summary: pd.DataFrame
    confusion: pd.DataFrame | None
    null: Float[np.ndarray, "draws k"]


@dataclass(frozen=True)
class _Classes:
    """names [K]; codes [n]: which combination of classes a row has; member [combinations, K]: 0/1."""

    names: list[str]
    codes: Int[np.ndarray, " n"]
    member: Int[np.ndarray, "c k"]


def one_vs_rest(
    acts: Activations,
    site: str | Site,
    labels: str | Sequence[str],
    probe: str | Probe = "logistic",
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 100,
    seed: int = 0,
) -> OneVsRest:
    """Probes for every value of one column (`"agent"`), or for several 0/1 columns (`["warm", "cautious"]`).

    table, one row per class: share of rows; auroc, low, high: out of fold, with the cluster-bootstrap 95 % interval
    over groups; accuracy at 0; p: against the *best* class of each permutation, p_class: against the same class;
    shuffled: mean AUROC of permuted labels; random_high, matched_high: 95th percentile over random directions (see
    `probes.controls`); bag_of_words, char_ngrams, length, punctuation: the text alone.
    summary, one row: macro auroc, low, high, p; accuracy with its interval: share of rows whose class has the highest
    score, or with all labels right (nan where scores of different classes have different units: for several classes it
    needs a probe with log-odds, as logistic or lda); balanced: mean over classes of the share found; majority: accuracy
    of the commonest answer alone.

    Raises DataError: a missing column or value, fewer than three classes, labels that are not 0/1, a class in fewer
    than two groups. Warns below 20 groups.
    """
    classes = _classes_of(acts.examples, labels)
    groups, targets = acts.groups, classes.member[classes.codes]
    directions = {
        name: _direction(acts, targets[:, k], site, probe, name if not isinstance(labels, str) else f"{labels}={name}")
        for k, name in enumerate(classes.names)
    }
    warn_few(groups)
    X = acts.numpy(site).astype(np.float64)
    plans = _plans(targets, groups, folds, seed)
    scores = _scores(X, targets, plans, probe)
    null = np.zeros((permutations, len(classes.names)))
    # Where no group has one class alone, labels stay in their groups, and so do the folds.
    still = all(len(set(classes.codes[groups == group])) > 1 for group in set(groups))
    for draw in range(permutations):
        permuted = classes.member[permute_labels(classes.codes, groups, seed + draw + 1)]
        own = plans if still else _plans(permuted, groups, folds, seed)
        null[draw] = _aurocs(permuted, _scores(X, permuted, own, probe))
    texts = acts.examples.texts(response=Span.parse(acts.source.span).reads_response)
    found = _aurocs(targets, scores)
    rows = []
    for k, name in enumerate(classes.names):
        y, plan = targets[:, k], plans[k]
        low, high = auroc_interval(y, scores[:, k], groups, seed=seed)
        row: dict[str, object] = {"class": name, "share": float(y.mean()), "auroc": float(found[k])}
        row |= {"low": low, "high": high, "accuracy": float(((scores[:, k] > 0) == y).mean())}
        row |= {
            "p": p_value(null.max(axis=1), float(found[k])) if permutations else np.nan,
            "p_class": p_value(null[:, k], float(found[k])) if permutations else np.nan,
            "shuffled": float(null[:, k].mean()) if permutations else np.nan,
        }
        random = oriented(X @ random_directions(X.shape[1], random_draws, seed), y, plan)
        matched = matched_scores(X, y, plan, draws=random_draws, seed=seed)
        row |= {
            "random_high": float(np.quantile(auroc(y, random), 0.95)),
            "matched_high": float(np.quantile(auroc(y, matched), 0.95)),
            **{kind: float(auroc(y, text_fold_scores(kind, texts, y, plan, seed=seed))) for kind in TEXT_ONLY},
        }
        rows.append(row)
    low, high = _macro_interval(targets, scores, groups, seed)
    summary: dict[str, object] = {"auroc": float(found.mean()), "low": low, "high": high}
    summary["p"] = p_value(null.mean(axis=1), float(found.mean())) if permutations else np.nan
    confusion = None
    if not isinstance(labels, str):
        summary |= _accuracy((scores > 0) == targets, classes.codes, groups, seed)
    elif isinstance(make(probe), LogOdds):
        predicted = scores.argmax(axis=1)
        summary |= _accuracy((predicted == classes.codes)[:, None], classes.codes, groups, seed)
        counts = np.zeros((len(classes.names), len(classes.names)), dtype=int)
        np.add.at(counts, (classes.codes, predicted), 1)
        confusion = pd.DataFrame(counts, index=classes.names, columns=classes.names)
    else:
        summary |= dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "balanced", "majority"), np.nan)
    summary |= {"probe": name_of(probe), "n": len(targets), "groups": len(set(groups))}
    return OneVsRest(directions, pd.DataFrame(rows), pd.DataFrame([summary]), confusion, null)


def check_classes(examples: Examples, labels: str | Sequence[str], folds: int, seed: int = 0) -> None:
    """Raises what `one_vs_rest` would, of the table alone: before activations are collected."""
    classes = _classes_of(examples, labels)
    _plans(classes.member[classes.codes], examples.groups, folds, seed)


def _classes_of(examples: Examples, labels: str | Sequence[str]) -> _Classes:
    columns = [labels] if isinstance(labels, str) else list(labels)
    for column in columns:
        if column not in examples.frame:
            raise DataError(f"No column {column!r} of labels; available: {available(examples.frame.columns)}.")
        missing = examples.frame[column].isna()
        if missing.any():
            raise DataError(
                f"Column {column!r} is missing in {int(missing.sum())} rows (the first is row "
                f"{int(missing.argmax())}); select the labelled rows first."
            )
    if isinstance(labels, str):
        values, codes = np.unique(examples.frame[labels].to_numpy(), return_inverse=True)
        if len(values) < 3:
            raise DataError(
                f"Column {labels!r} holds {available(values)}; one-vs-rest needs three classes or more (for two: "
                "probes.sweep, with positive=VALUE)."
            )
        names, member = [str(value) for value in values], np.eye(len(values), dtype=np.int64)
        _check_groups(names, member[codes], examples.groups)
        return _Classes(names, codes, member)
    if len(columns) < 2:
        raise DataError(f"Several columns of 0/1 labels are needed; given: {available(columns)}.")
    for column in columns:
        held = set(examples.frame[column])
        if held != {0, 1}:
            raise DataError(f"Column {column!r} must hold 0 and 1; it holds {available(held)}.")
    member, codes = np.unique(examples.frame[columns].to_numpy(dtype=np.int64), axis=0, return_inverse=True)
    _check_groups(columns, member[codes], examples.groups)
    return _Classes(columns, codes, member)


def _check_groups(names: Sequence[str], targets: Int[np.ndarray, "n k"], groups: np.ndarray) -> None:
    for k, name in enumerate(names):
        held = len(set(groups[targets[:, k] == 1]))
        if held < 2:
            raise DataError(f"{name!r} occurs in {held} group of {len(set(groups))}; at least 2 groups must hold it.")


def _direction(
    acts: Activations, target: Int[np.ndarray, " n"], site: str | Site, probe: str | Probe, name: str
) -> Direction:
    """Of one class, on all rows; its method names the class."""
    examples = Examples(acts.examples.frame.assign(label=target))
    relabelled = replace(acts, examples=examples, source=replace(acts.source, data=examples.hash()))
    direction = fit(relabelled, site, probe).direction
    method = f"{direction.provenance.method} ({name})"
    return replace(direction, provenance=replace(direction.provenance, method=method))


def _plans(targets: Int[np.ndarray, "n k"], groups: np.ndarray, folds: int, seed: int) -> list[list[Fold]]:
    return [grouped_folds(target, groups, folds, seed, warned=True) for target in targets.T]


def _scores(
    X: Float[np.ndarray, "n d"],
    targets: Int[np.ndarray, "n k"],
    plans: Sequence[Sequence[Fold]],
    probe: str | Probe,
) -> Float[np.ndarray, "n k"]:
    """Out-of-fold scores, a column per class."""
    columns = [cross_scores(X, target, plan, probe) for target, plan in zip(targets.T, plans, strict=True)]
    return np.stack(columns, axis=1)


def _aurocs(targets: Int[np.ndarray, "n k"], scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"]:
    return np.array([float(auroc(target, score)) for target, score in zip(targets.T, scores.T, strict=True)])


def _macro_interval(
    targets: Int[np.ndarray, "n k"], scores: Float[np.ndarray, "n k"], groups: np.ndarray, seed: int
) -> tuple[float, float]:
    """Cluster-bootstrap 95 % interval of the macro AUROC; resamples that miss a class are left out."""
    counts = group_counts(groups, 1000, seed)
    columns = zip(targets.T, scores.T, strict=True)
    drawn = np.mean([auroc_draws(target, score, counts) for target, score in columns], axis=0)
    return percentiles(drawn[~np.isnan(drawn)], 0.95)


def _accuracy(right: np.ndarray, codes: Int[np.ndarray, " n"], groups: np.ndarray, seed: int) -> dict[str, object]:
    """right [n, answers]: a row counts where all its answers are right."""
    hits = right.all(axis=1).astype(float)
    low, high = mean_interval(hits, groups, seed=seed)
    return {
        "accuracy": float(hits.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced": float(np.mean([hits[codes == code].mean() for code in np.unique(codes)])),
        "majority": float(np.bincount(codes).max() / len(codes)),
    }
