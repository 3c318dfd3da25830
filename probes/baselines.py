"""Baselines of one direction on test rows: each a row of `evaluate`'s table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lens.activations import Activations
from lens.errors import DataError, available
from lens.spans import Span
from lens.text_only import TEXT_ONLY, text_fold_scores, text_scores
from probes.controls import component_scores, matched_scores, oriented, random_directions
from probes.direction import Direction
from probes.fit import check_labels
from probes.folds import grouped_folds
from probes.metrics import auroc, auroc_interval

USUAL = ("random_direction", "shuffled_labels", "bag_of_words", "char_ngrams", "length")
READ = ("random_direction", "matched_direction", "top_components")
CONTROLS = (*READ, "shuffled_labels", *TEXT_ONLY)


def check_controls(controls: Sequence[str]) -> list[str]:
    """The names of controls. Raises DataError for an unknown one."""
    chosen = list(CONTROLS) if controls == "all" else [controls] if isinstance(controls, str) else list(controls)
    unknown = [name for name in chosen if name not in CONTROLS]
    if unknown:
        raise DataError(f"Unknown control {unknown[0]!r}; available: {available(CONTROLS)}, or 'all'.")
    return chosen


def baselines(
    direction: Direction,
    acts: Activations,
    train: Activations | None,
    null: np.ndarray,
    controls: Sequence[str],
    *,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One row per control. null: AUROCs of the direction's scores on permuted labels."""
    labels = check_labels(acts)
    reads_response = Span.parse(acts.source.span).reads_response
    texts = acts.examples.texts(response=reads_response)
    X = acts.numpy(direction.site).astype(np.float64)
    if train is not None:
        known = check_labels(train)
        # One fold: learn on all training rows, score all test rows.
        both = np.r_[known, labels]
        tested = np.arange(len(known), len(both))
        plan = [(np.arange(len(known)), tested)]
        X = np.vstack([train.numpy(direction.site).astype(np.float64), X])
        known_texts = train.examples.texts(response=reads_response)
        how = "trained where the probe was"
    else:
        both, tested = labels, np.arange(len(labels))
        plan = grouped_folds(labels, acts.groups, min(5, len(set(acts.groups))), seed, warned=True)
        how = "cross-validated on these rows"

    def of_text(name: str) -> np.ndarray:
        if train is not None:
            return text_scores(name, known_texts, known, texts, seed=seed)
        return text_fold_scores(name, texts, labels, plan, seed=seed)

    def spread(values: np.ndarray) -> dict[str, float]:
        low, high = np.quantile(values, [0.025, 0.975])
        return {"auroc": float(values.mean()), "low": float(low), "high": float(high)}

    def single(score: np.ndarray) -> dict[str, float]:
        low, high = auroc_interval(labels, score, acts.groups, seed=seed)
        return {"auroc": float(auroc(labels, score)), "low": low, "high": high}

    rows = []
    for name in controls:
        row: dict[str, Any] = {"detector": name}
        if name == "random_direction":
            values = X @ random_directions(X.shape[1], draws, seed)
            row |= spread(auroc(labels, oriented(values, both, plan)[tested]))
        elif name == "matched_direction":
            row |= spread(auroc(labels, matched_scores(X, both, plan, draws=draws, seed=seed)[tested]))
        elif name == "top_components":
            row |= single(component_scores(X, both, plan)[tested])
        elif name == "shuffled_labels":
            row |= spread(null)
        else:
            row |= single(of_text(name))
        rows.append(row | {"baseline": "permuted test labels" if name == "shuffled_labels" else how})
    return rows
