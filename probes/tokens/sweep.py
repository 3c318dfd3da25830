"""Sweep token probes: every site, grouped folds, intervals, permutations, and what text and length alone give."""

import copy
import hashlib
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import clone

from lens.activations import Activations
from lens.errors import DataError
from lens.text_only import Fold
from probes.cell import Design, key_of, run
from probes.controls import CIRCULAR, control_tasks, oriented, resemblance, within_rows
from probes.fit import name_of, two_labels
from probes.folds import grouped_folds, out_of_fold, permuted_folds
from probes.metrics import auroc
from probes.strata import strata_of
from probes.sweep import warn_circular
from probes.text_evidence import check_level
from probes.tokens.base import UnpooledProbe
from probes.tokens.fit import make_tokens
from probes.tokens.rows import TokenRows, token_array
from probes.verdict import Judge


def sweep_tokens(
    acts: Activations,
    probes: "str | UnpooledProbe | Sequence[str | UnpooledProbe]" = ("mean", "max", "softmax", "attention"),
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 20,
    against: Sequence[str] = (),
    text_evidence: float | None = 0.75,
    jobs: int | None = None,
    resume: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Cross-validate token probes at every site of unpooled activations; groups are never split across folds.

    One row per site and probe, with columns as in `probes.sweep`, but for components and others; random directions are
    for each probe its own. random_direction, random_high: mean and 95th percentile of the same probe with each of its
    vectors replaced by a random one of the same norm. matched_direction, matched_high: by one with the covariance that
    tokens of the training rows have within their classes, along which they spread as along the probe's own. Where rows
    of one class have more tokens, `max` and `softmax` along *any* direction tell that.

    `mean` and `last` are linear in what is read; `max`, `softmax` and attention are not, and may combine what a token
    holds into what the model never computed. Where only they find something, read the tokens they point at with a
    linear probe before saying that it is there.

    Raises DataError: pooled activations, one class, too few groups for the folds, a row without a token, a token that
    is not finite, no random draw, an unknown probe or a parameter out of range, a label and a column of `against` that
    cannot be told apart. Warns as `probes.sweep`.
    """
    chosen = [probes] if isinstance(probes, str | UnpooledProbe) else list(probes)
    made = [make_tokens(probe) for probe in chosen]
    if not made:
        raise DataError("No probe was given: there is nothing to sweep.")
    if random_draws < 1:
        raise DataError(f"random_draws={random_draws}: at least 1 is needed.")
    if text_evidence is not None:
        check_level(text_evidence)
    labels, groups = two_labels(acts.examples), acts.groups
    strata = strata_of(acts.examples, against) if against else None
    plan = grouped_folds(labels, groups, folds, seed)
    design = Design(labels, groups, plan, permuted_folds(labels, groups, plan, folds, permutations, seed), folds, seed)
    tasks = []
    for site in acts.sites:
        X = token_array(acts, site)
        content = hashlib.sha256(np.ascontiguousarray(X).tobytes()).hexdigest()
        for probe in made:
            key = key_of("tokens", content, acts.source.data, folds, permutations, random_draws, seed, repr(probe))
            tasks.append((key, partial(measure_cell, X, probe, design, random_draws)))
    found = run(tasks, jobs=jobs, folder=Path(resume) if resume is not None else None, progress=progress)
    judge = Judge.of(acts, design, [cell["null"] for cell in found], strata, text_evidence)
    rows = []
    for number, (site, probe) in enumerate(itertools.product(acts.sites, chosen)):
        cell = found[number]
        row = {"span": acts.source.span, "site": str(site), "probe": name_of(probe)}
        rows.append(row | judge.row(number, cell, cell["controls"]))
    table = pd.DataFrame(rows)
    warn_circular(table, max(CIRCULAR, 2 / acts.width**0.5))
    return table


def measure_cell(
    X: Float[np.ndarray, "n tokens d"], probe: UnpooledProbe, design: Design, draws: int
) -> dict[str, Any]:
    """scores: out of fold. null: AUROC on each permutation's labels. control_task, resemblance and controls (random and
    matched directions): see `probes.controls`."""
    labels, plan, rows = design.labels, design.plan, TokenRows.of(X)
    fitted = cross_fit(X, labels, plan, probe)

    def auroc_on(labels: Int[np.ndarray, " n"], plan: Sequence[Fold]) -> float:
        return float(auroc(labels, out_of_fold(X, plan, cross_fit(X, labels, plan, probe))))

    tasks = control_tasks(design.groups, design.folds, draws=1, seed=design.seed)
    whole, isotropic = clone(probe).fit(X, labels), np.eye(X.shape[2])
    seeds = range(design.seed, design.seed + draws)
    random = np.stack([redrawn(whole, isotropic, seed).scores_of(rows) for seed in seeds], axis=1)
    matched = np.zeros((len(X), draws))
    for one, fold in zip(fitted, plan, strict=True):
        known = rows.spread(np.isin(np.arange(len(X)), fold[0]))
        among = within_rows(rows.values[known], rows.spread(labels)[known])
        drawn = np.stack([redrawn(one, among, seed).scores_of(rows) for seed in seeds], axis=1)
        matched[fold[1]] = oriented(drawn, labels, [fold])[fold[1]]
    controls = {}
    for name, values in (("random", oriented(random, labels, plan)), ("matched", matched)):
        reached = auroc(labels, values)
        controls[f"{name}_direction"] = float(reached.mean())
        controls[f"{name}_high"] = float(np.quantile(reached, 0.95))
    coef = np.mean([one.coef_[0] for one in fitted], axis=0)
    return {
        "scores": out_of_fold(X, plan, fitted).tolist(),
        "null": [auroc_on(*permuted) for permuted in design.permuted],
        "control_task": float(np.mean([auroc_on(*task) for task in tasks])) if tasks else float("nan"),
        "resemblance": resemblance(rows.values, rows.spread(labels), coef[None])[0],
        "controls": controls,
    }


def cross_fit(
    X: Float[np.ndarray, "n tokens d"], labels: Int[np.ndarray, " n"], plan: Sequence[Fold], probe: UnpooledProbe
) -> list[UnpooledProbe]:
    """The probe fitted on the training rows of each fold."""
    return [clone(probe).fit(X[train], labels[train]) for train, _ in plan]


def redrawn(probe: UnpooledProbe, among: Float[np.ndarray, "m d"], seed: int) -> UnpooledProbe:
    """A fitted probe with each of its vectors v replaced by  u = Aᵀg · ‖Av‖ / ‖AAᵀg‖,  g ~ N(0, I).

    A = I: random directions of the same norm; A of rows of mean 0: with their covariance, and with the spread that they
    have along v.
    """
    made, rng = copy.copy(probe), np.random.default_rng(seed)
    for name in ("values_", "queries_"):
        if hasattr(made, name):
            old = getattr(made, name)
            new = rng.standard_normal((len(old), len(among))) @ among
            size, drawn = (np.linalg.norm(vectors @ among.T, axis=1, keepdims=True) for vectors in (old, new))
            setattr(made, name, new * np.divide(size, drawn, out=np.zeros_like(size), where=drawn > 0))
    made.coef_ = made.values_.sum(axis=0, keepdims=True)
    return made
