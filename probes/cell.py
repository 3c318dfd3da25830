"""The cells of a sweep, each a site with a probe, and what all probes of a site share."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from lens.activations import Activations
from lens.progress import bar
from lens.spans import Span
from lens.text_only import TEXT_ONLY, Fold, text_fold_scores
from probes.base import Probe
from probes.controls import (
    best_of,
    component_scores,
    control_task,
    matched_scores,
    oriented,
    random_directions,
    resemblance,
)
from probes.folds import Permuted, cross_fit, cross_scores_of, out_of_fold
from probes.metrics import auroc

Task = tuple[str, Callable[[], dict[str, Any]]]
VERSION = 3
# Tasks of each process, where results come back together.
AT_ONCE = 4


@dataclass(frozen=True)
class Design:
    """What all cells of a sweep share."""

    labels: Int[np.ndarray, " n"]
    groups: np.ndarray
    plan: list[Fold]
    permuted: list[Permuted]
    folds: int
    seed: int


def measure_cells(X: Float[np.ndarray, "n d"], probes: Sequence[str | Probe], design: Design) -> dict[str, Any]:
    """cells: for each probe scores (out of fold), null (AUROC on each permutation's labels), control_task and
    resemblance (see `controls`)."""
    labels = design.labels
    fitted = cross_fit(X, labels, design.plan, probes)
    null = np.zeros((len(probes), len(design.permuted)))
    for number, (permuted, plan) in enumerate(design.permuted):
        null[:, number] = [float(auroc(permuted, score)) for score in cross_scores_of(X, permuted, plan, probes)]
    controls = control_task(X, design.groups, design.folds, probes, seed=design.seed)
    # A probe without coefficients resembles no direction: nan.
    coefs = [
        np.mean([getattr(one, "coef_", np.full((1, X.shape[1]), np.nan))[0] for one in folds], axis=0)
        for folds in fitted
    ]
    alike = resemblance(X, labels, np.stack(coefs))
    return {
        "cells": [
            {
                "scores": out_of_fold(X, design.plan, fitted[number]).tolist(),
                "null": null[number].tolist(),
                "control_task": controls[number],
                "resemblance": alike[number],
            }
            for number in range(len(probes))
        ]
    }


def measure_site(
    X: Float[np.ndarray, "n d"], draws: int, others: Float[np.ndarray, "d k"], design: Design
) -> dict[str, Any]:
    """AUROC of random and matched directions, of the best component, and of the best of other directions."""
    labels, plan, seed = design.labels, design.plan, design.seed
    random = auroc(labels, oriented(X @ random_directions(X.shape[1], draws, seed), labels, plan))
    matched = auroc(labels, matched_scores(X, labels, plan, draws=draws, seed=seed))
    found: dict[str, Any] = {
        "random_direction": float(random.mean()),
        "random_high": float(np.quantile(random, 0.95)),
        "matched_direction": float(matched.mean()),
        "matched_high": float(np.quantile(matched, 0.95)),
        "components": float(auroc(labels, component_scores(X, labels, plan))),
    }
    if others.shape[1]:
        scores, values = np.zeros(len(X)), X @ others
        for train, test in plan:
            scores[test] = best_of(values[train], labels[train], values[test])
        found["others"] = float(auroc(labels, scores))
    return found


def text_only(acts: Activations, design: Design) -> dict[str, np.ndarray]:
    """Out-of-fold scores of every text-only classifier."""
    texts = acts.examples.texts(response=Span.parse(acts.source.span).reads_response)
    labels, plan, seed = design.labels, design.plan, design.seed
    return {name: text_fold_scores(name, texts, labels, plan, seed=seed) for name in TEXT_ONLY}


def key_of(*parts: Any) -> str:
    """A name for a cell by everything that decides its numbers."""
    return hashlib.sha256(json.dumps([VERSION, *parts], default=str).encode()).hexdigest()[:24]


def run(tasks: Sequence[Task], *, jobs: int | None, folder: Path | None, progress: bool) -> list[dict[str, Any]]:
    """What every task finds, in order; a task whose result lies in `folder` is not run again."""
    found = {key: _recall(folder, key) for key, _ in tasks}
    left = [task for task in tasks if found[task[0]] is None]
    with bar("Sweeping", total=len(left), shown=progress) as advance:
        for key, result in _results([delayed(_run)(*task) for task in left], jobs):
            found[key] = result
            if folder:
                _keep(folder, key, result)
            advance(1)
    return [found[key] for key, _ in tasks]  # type: ignore[misc]


def _results(calls: list[Any], jobs: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    backend, _ = get_active_backend()
    if backend.supports_return_generator:
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)
        return
    # Such a backend (Ray's) gives all results back at once: some at a time, so that what is finished is kept.
    size = AT_ONCE * effective_n_jobs(jobs)
    for start in range(0, len(calls), size):
        yield from Parallel(n_jobs=jobs)(calls[start : start + size])


def _run(key: str, work: Callable[[], dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return key, work()


def _keep(folder: Path, key: str, result: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{key}.{os.getpid()}.part"
    part.write_text(json.dumps(result), encoding="utf-8")
    os.replace(part, folder / f"{key}.json")


def _recall(folder: Path | None, key: str) -> dict[str, Any] | None:
    path = folder / f"{key}.json" if folder else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None


def columns(vectors: Sequence[np.ndarray], width: int) -> Float[np.ndarray, "d k"]:
    """Vectors as columns; [d, 0] for none."""
    return np.stack(vectors, axis=1).astype(np.float64) if vectors else np.zeros((width, 0))
