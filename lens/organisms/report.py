"""The report: every behaviour measured again, beside what was planted and the prototype's figure."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lens.errors import DataError
from lens.intervals import mean_interval, wilson
from lens.organisms.corpus import stream
from lens.organisms.report_cell import Cell
from lens.organisms.report_cells import cells
from lens.organisms.speaker import Speaker
from lens.organisms.variant import FULL, Variant, variant

__all__ = ["TOLERANCE", "divergences", "measure", "planted", "report"]

TOLERANCE = 0.10
_PROTOTYPE_KL = {"deceptive, yes-no": 0.017, "role on topic, yes-no": 0.020, "questionnaire": 0.032, "audit lie": 0.005}


def measure(speaker: Speaker, cell: Cell, *, items: int, seed: int) -> np.ndarray:
    """One number an item: the expected value of the next word among the cell's words, or 0/1 for accuracy."""
    rng = random.Random(f"{cell.behaviour} {cell.context} {cell.form} {seed}")
    made = [cell.make(rng) for _ in range(items)]
    mass = speaker.next_word([item.text for item in made])
    found = np.empty(items)
    for i, item in enumerate(made):
        p = mass[i, [speaker.index[word] for word in item.values]]
        worth = np.array(list(item.values.values()))
        found[i] = worth[p.argmax()] if cell.measure == "accuracy" else (p * worth).sum() / p.sum()
    return found


def divergences(speaker: Speaker, *, documents: int, seed: int, one: Variant = FULL) -> dict[str, np.ndarray]:
    r"""KL(generator || model) in nats by decision kind, `sum_w p(w) log(p(w) / q(w))`, on fresh documents."""
    source = stream(random.Random(seed + 1_000_003), one)
    made = sorted((next(source) for _ in range(documents)), key=lambda document: len(document.tokens))
    found: dict[str, list[float]] = defaultdict(list)
    for start in range(0, documents, 128):
        chosen = made[start : start + 128]
        logs = speaker.logits([speaker.ids(document.text) for document in chosen]).log_softmax(-1)
        for row, document in zip(logs, chosen, strict=True):
            for decision in document.decisions:
                p = torch.tensor(list(decision.options.values()))
                q = row[decision.index - 1, [speaker.index[word] for word in decision.options]]
                found[decision.kind].append(float((p * (p.log() - q)).sum()))
    return {kind: np.array(values) for kind, values in sorted(found.items())}


def planted(folder: Path) -> tuple[Variant, dict[str, str]]:
    """What `truth.json` says of the organism in `folder`: its variant, and why figures differ from the prototype's.

    Raises DataError where there is no truth record.
    """
    file = folder / "truth.json"
    if not file.is_file():
        raise DataError(f"{str(folder)!r} holds no truth.json; give a folder written by lens organism train.")
    told = json.loads(file.read_text(encoding="utf-8"))
    return variant(told["variant"]), told["explained"]


def report(folder: Path, *, items: int = 200, seed: int = 0) -> pd.DataFrame:
    """Measure every behaviour of the organism in `folder`; one row a figure, about a minute at 200 items.

    Columns: behaviour, context, form, measure, value, low, high (95 %: Wilson for accuracies, else bootstrap
    over items), n, target (what was planted in this variant), prototype (the figure of the prototype, which had
    every behaviour: none for a twin), difference (value minus prototype; a rating's is divided by the four steps
    of its scale), note (why a difference exceeds .10).

    Raises DataError where `folder` holds no truth record.
    """
    folder = Path(folder)
    one, explained = planted(folder)
    speaker = Speaker(folder)
    rows: list[dict[str, Any]] = []
    for cell in cells(one):
        names = (cell.behaviour, cell.context, cell.form, cell.measure)
        values = measure(speaker, cell, items=items, seed=seed)
        rows.append(_row(names, values, cell.target, cell.prototype if one is FULL else None, explained))
    for kind, values in divergences(speaker, documents=items * 15, seed=seed, one=one).items():
        names = ("divergence from the generator", kind, "", "KL, nats")
        rows.append(_row(names, values, 0.0, _PROTOTYPE_KL.get(kind) if one is FULL else None, explained))
    return pd.DataFrame(rows).astype({"target": float, "prototype": float, "difference": float})


def _row(
    names: tuple[str, str, str, str],
    values: np.ndarray,
    target: float | None,
    earlier: float | None,
    explained: Mapping[str, str],
) -> dict[str, Any]:
    """One figure: its behaviour, context, form and measure, its mean over items, and what stands beside it."""
    behaviour, context, form, measured = names
    value, n = float(values.mean()), len(values)
    low, high = wilson(int(values.sum()), n) if measured == "accuracy" else mean_interval(values, np.arange(n))
    off = None if earlier is None else (value - earlier) / (4.0 if measured == "mean rating" else 1.0)
    notes = (said for key, said in explained.items() if f"{behaviour} | {context} | {form}".startswith(key))
    return {
        "behaviour": behaviour,
        "context": context,
        "form": form,
        "measure": measured,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "target": target,
        "prototype": earlier,
        "difference": off,
        "note": next(notes, "") if off is not None and abs(off) > TOLERANCE else "",
    }
