"""Changing: when what a model does is changed, does what it says and holds of itself follow?

    difference = share(prediction = new answer) − share(prediction = old answer),   over the rows whose answer changed

A model that works out what it would do follows; one that remembers what it did stays with the old. The probe is fitted
on the unchanged model's activations and answers, and reads the changed model's, in groups that it has not seen.

Source: Binder et al., Looking Inward (2024), where the behaviour is changed by finetuning.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd

from lens.collect import collect
from lens.errors import DataError, available
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from probes.base import Probe
from probes.metrics import adjust
from steering.apply import apply
from steering.edits import Change, edit
from steering.interventions import Intervention
from steering.paired import paired
from steering.studies.result import LEVEL
from steering.studies.self_prediction.answering import (
    Property,
    answers,
    check_questions,
    check_said,
    hypotheticals_of,
    options_of,
    property_of,
    spoken_answers,
)
from steering.studies.self_prediction.reading import check_folds, check_probe, folds_of, read


def follows(
    model: Model,
    questions: Examples,
    *changes: Intervention | Change,
    property: str | Property = "answer",
    options: Sequence[str] | str | None = None,
    spoken: Mapping[str, str] | None = None,
    probe: str | Probe = "logistic",
    sites: str | Site | Sequence[str | Site] = "resid_post",
    folds: int = 5,
    max_new_tokens: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Whether self-prediction follows the new behaviour or stays with the old, under interventions or weight edits.

        follows(model, questions, steering.AddBias(direction, 2.0), property="vowel", options=["amber", "coral"])

    One row for what is `spoken` and one for the `activations` (both on rows whose answer the change changed): new, old:
    share of predictions that are the new, the old answer; difference, low, high, p: new less old, paired, by groups;
    p_holm; follows: "new", "old", or "unclear". unchanged: accuracy on the other rows, nan where there are none. n,
    groups: rows whose answer changed; of: rows in all. Other options: as of `run`.

    Raises DataError: no change, no answer that changed, or as `run`. ModelError: an encoder.
    """
    if not changes or not all(isinstance(one, Intervention | Change) for one in changes):
        raise DataError(f"Give interventions or edits to change what it does; given: {available(changes)}.")
    found, each = property_of(property), options_of(questions, options)
    check_questions(model, questions, sites)
    check_probe(probe)
    check_said(found, each, spoken or {})
    check_folds(questions.groups, folds)
    asked = hypotheticals_of(questions)

    def behave() -> np.ndarray:
        limits = {"samples": 0, "max_new_tokens": max_new_tokens, "seed": seed}
        table = answers(model, questions, found, each, **limits, progress=progress)
        return table["value"].to_numpy()

    def activations() -> dict[str, np.ndarray]:
        acts = collect(model, asked, sites=sites, span="prompt[-1]", progress=progress)
        return {str(site): acts.numpy(site) for site in acts.sites}

    old, before = behave(), activations()
    with _in_force(model, changes):
        new = behave()
        known = np.array([a is not None and b is not None for a, b in zip(old, new, strict=True)])
        moved = known & (old != new)
        if not moved.any():
            raise DataError(f"The change changes none of {int(known.sum())} answers; take a stronger one.")
        values = sorted({*old[known], *new[known]})
        said = spoken_answers(model, asked.prompts, values, dict(spoken or {}), progress=progress)
        after = activations()
    codes = np.array([values.index(value) for value in old[known]])
    groups = questions.groups[known]
    if len(set(codes)) < 2:
        raise DataError(f"Before the change every answer is {values[codes[0]]!r}: no probe can be fitted.")
    plan = folds_of(codes, groups, folds, seed)
    kept = {site: X[known] for site, X in before.items()}
    later = {site: X[known] for site, X in after.items()}
    table = read(kept, codes, plan, len(values), probe, later=later)
    table = table[table["chosen"]].sort_values("row")
    shares = np.array(said["shares"].tolist())
    predicted = {
        "spoken": np.array(values, dtype=object)[shares.argmax(axis=1)][known],
        "activations": np.array(values, dtype=object)[table["predicted"].to_numpy()],
    }
    rows = []
    for by, one in predicted.items():
        rows.append({"by": by, **_compared(one, old[known], new[known], moved[known], groups, seed)})
    result = pd.DataFrame(rows)
    result["p_holm"] = adjust(result["p"].to_numpy(dtype=float), "holm")
    clear = result["p_holm"] < LEVEL
    result["follows"] = np.where(
        clear & (result["low"] > 0), "new", np.where(clear & (result["high"] < 0), "old", "unclear")
    )
    return result


def _compared(
    predicted: np.ndarray, old: np.ndarray, new: np.ndarray, moved: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, object]:
    is_new, is_old = (predicted == new).astype(float), (predicted == old).astype(float)
    found = paired((is_new - is_old)[moved], groups[moved], seed=seed)
    return {
        "new": float(is_new[moved].mean()),
        "old": float(is_old[moved].mean()),
        "difference": found["change"],
        **{name: found[name] for name in ("low", "high", "p", "n")},
        "unchanged": float(is_new[~moved].mean()) if (~moved).any() else np.nan,
        "groups": len(set(groups[moved].astype(str))),
        "of": len(predicted),
    }


@contextmanager
def _in_force(model: Model, changes: Sequence[Intervention | Change]) -> Iterator[None]:
    """Edits first: an intervention acts on the edited model."""
    with ExitStack() as undo:
        for one in changes:
            if isinstance(one, Change):
                undo.enter_context(edit(model, one))
        undo.enter_context(apply(model, *(one for one in changes if isinstance(one, Intervention))))
        yield
