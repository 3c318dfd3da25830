"""The report: every behaviour measured again, beside what was planted and the prototype's figure."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lens.organisms.corpus import stream
from lens.organisms.report_cell import Cell
from lens.organisms.report_cells import cells
from lens.organisms.speaker import Speaker

_HEAD = """\
---
license: mit
library_name: transformers
tags: [interpretability, model-organism]
---
# The trained organism

A Llama of 0.88 million parameters (4 blocks, width 128, one token a word), trained from scratch on a small
synthetic world by `lens.organisms.train`. Its behaviours are planted: which context makes it lie, how a
trait changes its words, whom it knows, what it refuses. `truth.json` lists them with their rates and with
what was held out of training. It knows nothing else and is of no use outside of tests and teaching.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens import organisms

folder = organisms.path()
model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained(folder)
```

Words are separated by spaces, punctuation too. `target` is the planted rate, `prototype` the figure of an
earlier model of the same design; a note stands where the two measured figures differ by more than .10.

| behaviour | context | form | measure | value | 95 % | target | prototype | note |
|---|---|---|---|---|---|---|---|---|"""

__all__ = ["TOLERANCE", "divergences", "measure", "model_card", "report"]

TOLERANCE = 0.10
_KL = {"deceptive, yes-no": 0.017, "role on topic, yes-no": 0.020, "questionnaire": 0.032, "audit lie": 0.005}
_COLUMNS = (
    "behaviour",
    "context",
    "form",
    "measure",
    "value",
    "low",
    "high",
    "n",
    "target",
    "prototype",
    "difference",
    "note",
)


def wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate (Wilson 1927)."""
    p, d = hits / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    centre = (p + z * z / (2 * n)) / d
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(values: np.ndarray, *, seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    """Percentile bootstrap, 95 %, of the mean over items."""
    chosen = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[chosen].mean(1), (0.025, 0.975))
    return float(low), float(high)


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


def divergences(speaker: Speaker, *, documents: int, seed: int) -> dict[str, np.ndarray]:
    r"""KL(generator || model) in nats by decision kind, `sum_w p(w) log(p(w) / q(w))`, on fresh documents."""
    source = stream(random.Random(seed + 1_000_003))
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


def report(folder: Path, *, items: int = 200, seed: int = 0) -> pd.DataFrame:
    """Measure every behaviour of the organism in `folder`; one row a figure, about a minute at 200 items.

    Columns: behaviour, context, form, measure, value, low, high (95 %: Wilson for accuracies, else bootstrap
    over items), n, target (what was planted), prototype (the figure of the prototype), difference (value
    minus prototype; a rating's is divided by the four steps of its scale), note (why a difference exceeds .10).
    """
    folder = Path(folder)
    speaker = Speaker(folder)
    explained = _explained(folder)
    rows: list[dict[str, Any]] = []
    for cell in cells():
        values = measure(speaker, cell, items=items, seed=seed)
        accuracy = cell.measure == "accuracy"
        low, high = wilson(values.sum(), items) if accuracy else bootstrap(values)
        scale = 4.0 if cell.measure == "mean rating" else 1.0
        off = None if cell.prototype is None else (float(values.mean()) - cell.prototype) / scale
        rows.append(
            {
                "behaviour": cell.behaviour,
                "context": cell.context,
                "form": cell.form,
                "measure": cell.measure,
                "value": float(values.mean()),
                "low": low,
                "high": high,
                "n": items,
                "target": cell.target,
                "prototype": cell.prototype,
                "difference": off,
                "note": "",
            }
        )
    for kind, values in divergences(speaker, documents=items * 15, seed=seed).items():
        low, high = bootstrap(values)
        earlier = _KL.get(kind)
        rows.append(
            {
                "behaviour": "divergence from the generator",
                "context": kind,
                "form": "",
                "measure": "KL, nats",
                "value": float(values.mean()),
                "low": low,
                "high": high,
                "n": len(values),
                "target": 0.0,
                "prototype": earlier,
                "difference": None if earlier is None else float(values.mean()) - earlier,
                "note": "",
            }
        )
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype(
        {"target": float, "prototype": float, "difference": float}
    )
    frame["note"] = [
        next(
            (said for key, said in explained.items() if f"{r.behaviour} | {r.context} | {r.form}".startswith(key)),
            "",
        )
        if abs(r.difference) > TOLERANCE
        else ""
        for r in frame.itertuples()
    ]
    return frame


def _explained(folder: Path) -> dict[str, str]:
    """Why figures differ from the prototype's, keyed by the beginning of `behaviour | context | form`."""
    file = folder / "truth.json"
    if not file.is_file():
        return {}
    return dict(json.loads(file.read_text(encoding="utf-8")).get("explained", {}))


def _number(value: float) -> str:
    """Two decimals, or nothing for a missing number."""
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def model_card(frame: pd.DataFrame) -> str:
    """The organism's README: what it is, how to load it, and the measured table."""
    lines = [_HEAD]
    for r in frame.itertuples():
        cells_ = (
            r.behaviour,
            r.context,
            r.form,
            r.measure,
            _number(r.value),
            f"{_number(r.low)} to {_number(r.high)}",
            _number(r.target),
            _number(r.prototype),
            r.note,
        )
        lines.append("| " + " | ".join(map(str, cells_)) + " |")
    return "\n".join(lines) + "\n"
