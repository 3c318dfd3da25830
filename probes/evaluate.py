"""Evaluate: one direction on rows it has not seen, beside what it has to beat."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import special
from sklearn.metrics import average_precision_score

from lens.activations import Activations
from lens.errors import DataError, available
from lens.intervals import wilson
from probes.baselines import USUAL, baselines, check_controls
from probes.calibrate import Calibrated
from probes.direction import Direction
from probes.fit import Fitted, check_labels
from probes.folds import warn_few
from probes.guard import check_rate, warn_reused, warn_shared_groups
from probes.metrics import (
    auroc,
    auroc_interval,
    auroc_within,
    brier,
    calibrated_errors,
    calibration_error,
    p_value,
    permute_labels,
    recall_at_fpr,
    threshold_at_fpr,
)
from probes.strata import inseparable, joined, strata_of
from probes.text_evidence import untold


def evaluate(
    probe: Direction | Fitted | Calibrated,
    acts: Activations,
    *,
    train: Activations | None = None,
    control: Activations | None = None,
    fpr: float = 0.01,
    controls: Sequence[str] | Literal["all"] = USUAL,
    others: Mapping[str, Direction] | None = None,
    against: Sequence[str] = (),
    text_evidence: float | None = None,
    draws: int = 200,
    seed: int = 0,
    other_model: bool = False,
) -> pd.DataFrame:
    """How well a direction tells the classes apart on `acts`, and how well its baselines do.

    One row per detector: `probe`; then those of `controls` (or "all"): `random_direction` and `matched_direction` (mean
    over draws, interval = their central 95 %; see `probes.controls`), `top_components` (the best of ten),
    `shuffled_labels` (the probe's scores against permuted labels, as the random ones), and what the text alone gives
    (`bag_of_words`, `char_ngrams`, `length`, `punctuation`: see `lens.text_only`); then each of `others`, directions
    of other traits.
    With `train` (the activations the probe was fitted on) the baselines learn there and are tested here, as the
    probe was; without it they are cross-validated on the test rows themselves, which favours them; column
    `baseline` says which.

    auroc, low, high: with cluster-bootstrap 95 % interval. p: against labels permuted from group to group, or within
    groups that hold both. accuracy at 0. within, within_low, within_high (with `against`): AUROC of pairs of rows that
    are alike in these columns. untold, untold_low, untold_high (with `text_evidence`, e.g. 0.75): AUROC on the
    `untold_n` rows whose text tells the label with less certainty; untold_text: the best text-only classifier's there.
    recall, recall_low, recall_high: at false-positive rate `fpr`, with the threshold set on `control` activations;
    flagged, flagged_low, flagged_high: share of the *label-0* test rows above that threshold, which is `fpr` only where
    these are like the control rows. brier, ece: of a calibrated probe's probabilities, or of scores that are log-odds
    (`Direction.log_odds`); ece_null: mean ece of a perfectly calibrated probe with these probabilities; ece_p: how
    often it has such an ece or a larger one.

    Raises ArtifactError: activations of another model (unless other_model=True). DataError: one class, a rate, number
    of draws or certainty out of range, a label and a column of `against` that cannot be told apart. Warns: rows or
    groups that the probe was fitted or calibrated on, another span or pool than its own, fewer control rows than the
    rate needs, fewer than 20 groups, training rows where the label and `against` cannot be told apart, and texts that
    tell nearly every label.
    """
    chosen = check_controls(controls)
    check_rate(fpr)
    if draws < 1:
        raise DataError(f"draws={draws}: at least 1 draw is needed.")
    direction = probe if isinstance(probe, Direction) else probe.direction
    labels, groups = check_labels(acts), acts.groups
    scores = direction.score_activations(acts, other_model=other_model).double().numpy()
    strata = strata_of(acts.examples, against) if against else None
    if isinstance(probe, Calibrated):
        probe.check(acts, other_model=other_model)
        if probe.provenance.data and probe.provenance.data == acts.source.data:
            warnings.warn("The probe was calibrated on these rows: brier and ece come out too good.", stacklevel=2)
    warn_few(groups)
    warn_reused(direction, acts, "evaluated")
    if train is not None:
        warn_shared_groups(train, acts)
        if against and inseparable(train.examples, joined(train.examples.frame, against)):
            warnings.warn(
                f"In the training rows the label and {' × '.join(map(repr, against))} cannot be told apart: the probe "
                "may read either.",
                stacklevel=2,
            )
    null = np.array([auroc(permute_labels(labels, groups, seed + k), scores) for k in range(draws)])
    value = float(auroc(labels, scores))
    low, high = auroc_interval(labels, scores, groups, seed=seed)
    row: dict[str, object] = {"detector": "probe", "auroc": value, "low": low, "high": high}
    row |= {
        "p": p_value(null, value),
        "average_precision": float(average_precision_score(labels, scores)),
        "accuracy": float(((scores > 0) == labels).mean()),
    }
    if strata is not None:
        within = auroc_interval(labels, scores, groups, seed=seed, strata=strata)
        row |= {"within": auroc_within(labels, scores, strata), "within_low": within[0], "within_high": within[1]}
    if text_evidence is not None:
        row |= untold(acts, scores, train, text_evidence, seed)
    if control is not None:
        passing = direction.score_activations(control, other_model=other_model).double().numpy()
        row |= _at_rate(scores, labels, passing, fpr)
    probability = _probability(probe, scores)
    if probability is not None:
        error = calibration_error(labels, probability)
        exact = calibrated_errors(probability, draws=draws, seed=seed)
        row |= {"brier": brier(labels, probability), "ece": error}
        row |= {"ece_null": float(exact.mean()), "ece_p": p_value(exact, error)}
    rows = [row, *baselines(direction, acts, train, null, chosen, draws=draws, seed=seed)]
    for name, other in (others or {}).items():
        score = other.project(acts[other.site]).double().numpy()
        low, high = auroc_interval(labels, score, groups, seed=seed)
        rows.append({"detector": name, "auroc": float(auroc(labels, score)), "low": low, "high": high})
    table = pd.DataFrame(rows)
    table["n"], table["groups"], table["other_model"] = len(labels), len(set(groups)), other_model
    return table


def flag_rates(
    probe: Direction | Fitted,
    acts: Activations,
    by: Sequence[str] = ("label",),
    *,
    threshold: float = 0.0,
    other_model: bool = False,
) -> pd.DataFrame:
    """Share of rows that score above a threshold, with its Wilson interval, for each combination of columns.

    `by=["label", "format"]` shows a 2×2 design cell by cell: whether the probe follows the label or the format.
    Raises DataError: a missing column.
    """
    direction = probe.direction if isinstance(probe, Fitted) else probe
    scores = direction.score_activations(acts, other_model=other_model).double().numpy()
    frame = acts.examples.frame
    missing = [column for column in by if column not in frame]
    if missing or not len(by):
        raise DataError(f"No column {available(missing)} to count by; available: {available(frame.columns)}.")
    rows = []
    for values, part in frame.assign(_flagged=scores > threshold).groupby(list(by), sort=True):
        hits, n = int(part["_flagged"].sum()), len(part)
        low, high = wilson(hits, n)
        rows.append(dict(zip(by, values, strict=True)) | {"flagged": hits / n, "low": low, "high": high, "n": n})
    return pd.DataFrame(rows)


def _at_rate(scores: np.ndarray, labels: np.ndarray, control: np.ndarray, fpr: float) -> dict[str, object]:
    if len(control) * fpr < 1:
        warnings.warn(
            f"{len(control)} control rows cannot show a false-positive rate of {fpr}: the threshold is their highest "
            f"score; give {int(np.ceil(1 / fpr))} or more.",
            stacklevel=3,
        )
    above = scores[labels == 0] > threshold_at_fpr(control, fpr)
    low, high = wilson(int(above.sum()), len(above))
    names = ("recall", "recall_low", "recall_high")
    return {
        **dict(zip(names, recall_at_fpr(scores, labels, control, fpr), strict=True)),
        "flagged": float(above.mean()),
        "flagged_low": low,
        "flagged_high": high,
    }


def _probability(probe: Direction | Fitted | Calibrated, scores: np.ndarray) -> np.ndarray | None:
    if isinstance(probe, Calibrated):
        return probe.probability(scores)
    direction = probe if isinstance(probe, Direction) else probe.direction
    return np.asarray(special.expit(scores)) if direction.log_odds else None
