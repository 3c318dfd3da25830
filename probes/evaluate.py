"""Evaluate: one direction on rows it has not seen, beside what it has to beat."""

import warnings

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from lens.activations import Activations
from lens.intervals import FEW_GROUPS
from lens.spans import Span
from lens.text_only import TEXT_ONLY, lengths, text_fold_scores, text_scores
from probes.controls import oriented, random_directions
from probes.direction import Direction
from probes.fit import Fitted, check_labels
from probes.metrics import (
    auroc,
    auroc_interval,
    brier,
    calibration_error,
    p_value,
    permute_labels,
    recall_at_fpr,
)
from probes.sweep import grouped_folds


def evaluate(
    probe: Direction | Fitted,
    acts: Activations,
    *,
    train: Activations | None = None,
    control: Activations | None = None,
    fpr: float = 0.01,
    draws: int = 200,
    seed: int = 0,
    other_model: bool = False,
) -> pd.DataFrame:
    """How well a direction tells the classes apart on `acts`, and how well its baselines do.

    One row per detector: `probe`; `random_direction` (mean over draws, interval = their central 95 %);
    `shuffled_labels` (the probe's scores against permuted labels, same); `bag_of_words`, `char_ngrams` and `length`
    (text only, see `lens.text_only`).
    With `train` (the activations the probe was fitted on) the baselines learn there and are tested here, as the
    probe was; without it they are cross-validated on the test rows themselves, which favours them; column
    `baseline` says which.

    auroc, low, high: with cluster-bootstrap 95 % interval. p: against permuted labels. accuracy at 0. recall at
    false-positive rate `fpr`, with the threshold set on `control` activations (nan without them). brier, ece: for
    logistic and LDA probes, whose scores are log-odds.

    Raises ArtifactError: activations of another model (unless other_model=True). DataError: one class.
    """
    direction = probe.direction if isinstance(probe, Fitted) else probe
    labels, groups = check_labels(acts), acts.groups
    scores = direction.score_activations(acts, other_model=other_model).double().numpy()
    if len(set(groups)) < FEW_GROUPS:
        warnings.warn(
            f"Only {len(set(groups))} groups: bootstrap intervals are too narrow below {FEW_GROUPS}.", stacklevel=2
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
    if control is not None:
        threshold_scores = direction.score_activations(control, other_model=other_model).double().numpy()
        names = ("recall", "recall_low", "recall_high")
        row |= dict(zip(names, recall_at_fpr(scores, labels, threshold_scores, fpr), strict=True))
    if direction.provenance.method.lower().startswith(("logistic", "lda")):
        probability = 1 / (1 + np.exp(-scores))
        row |= {"brier": brier(labels, probability), "ece": calibration_error(labels, probability)}
    rows = [row, *_baselines(direction, acts, train, labels, null, draws, seed)]
    table = pd.DataFrame(rows)
    table["n"], table["groups"], table["other_model"] = len(labels), len(set(groups)), other_model
    return table


def _baselines(
    direction: Direction,
    acts: Activations,
    train: Activations | None,
    labels: np.ndarray,
    null: np.ndarray,
    draws: int,
    seed: int,
) -> list[dict[str, object]]:
    reads_response = Span.parse(acts.source.span).reads_response
    texts = acts.examples.texts(response=reads_response)
    vectors = random_directions(len(direction.vector), draws, seed)
    projected = acts.numpy(direction.site).astype(np.float64) @ vectors
    if train is not None:
        known_texts = train.examples.texts(response=reads_response)
        known = check_labels(train)
        text = {name: text_scores(name, known_texts, known, texts, seed=seed) for name in TEXT_ONLY}
        stacked_labels = np.r_[known, labels]
        fold = (np.arange(len(known)), np.arange(len(known), len(stacked_labels)))
        features = np.vstack([train.numpy(direction.site).astype(np.float64) @ vectors, projected])
        random = oriented(features, stacked_labels, [fold])[fold[1]]
        both = np.r_[lengths(known_texts), lengths(texts)][:, None]
        text["length"] = oriented(both, stacked_labels, [fold])[fold[1], 0]
        how = "trained where the probe was"
    else:
        plan = grouped_folds(labels, acts.groups, min(5, len(set(acts.groups))), seed)
        text = {name: text_fold_scores(name, texts, labels, plan, seed=seed) for name in TEXT_ONLY}
        random = oriented(projected, labels, plan)
        text["length"] = oriented(lengths(texts)[:, None], labels, plan)[:, 0]
        how = "cross-validated on these rows"

    def spread(values: np.ndarray) -> dict[str, float]:
        low, high = np.quantile(values, [0.025, 0.975])
        return {"auroc": float(values.mean()), "low": float(low), "high": float(high)}

    def text_only(name: str, score: np.ndarray) -> dict[str, object]:
        low, high = auroc_interval(labels, score, acts.groups, seed=seed)
        value = float(auroc(labels, score))
        return {"detector": name, "auroc": value, "low": low, "high": high, "baseline": how}

    return [
        {"detector": "random_direction", **spread(auroc(labels, random)), "baseline": how},
        {"detector": "shuffled_labels", **spread(null), "baseline": "permuted test labels"},
        *(text_only(name, score) for name, score in text.items()),
    ]
