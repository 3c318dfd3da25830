"""What a direction does beyond its dose curve: texts, ablation, weight edit, off-target effects."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from lens import data
from lens.collect import collect
from lens.examples import Examples
from lens.intervals import mean_interval
from lens.model import Model
from lens.sites import Site
from lens.tokens import batches
from probes.direction import Direction
from steering import measures
from steering.apply import apply
from steering.demo.behaviours import Behaviour, Parts
from steering.edits import Orthogonalize, edit
from steering.effects import effects
from steering.interventions import Ablate, Add, writers


def texts(
    model: Model, neutral: Examples, direction: Direction, strength: float, *, span: str, seed: int
) -> dict[str, pd.DataFrame]:
    """Greedy answers to the same prompts, and whether each is coherent: unsteered, steered, and steered along a
    random direction of the same norm."""
    answered = measures.text(lambda text, row: float(bool(text)), name="answered")
    changes: dict[str, list[Add]] = {
        "unsteered": [],
        "steered": [Add(direction, strength, span=span)],
        "random direction, same norm": [Add(direction.random_like(seed), strength, span=span)],
    }
    return {arm: effects(model, neutral, answered, *change) for arm, change in changes.items()}


def _mean(table: pd.DataFrame, examples: Examples) -> dict[str, float]:
    values = table["value"].to_numpy()
    low, high = mean_interval(values, examples.groups)
    return {"value": float(np.nanmean(values)), "low": low, "high": high}


def ablation(
    model: Model, behaviour: Behaviour, directions: dict[Site, Direction], parts: Parts, *, seed: int
) -> dict[str, Any]:
    """Mean-ablate at the layer that removes most on validation rows; how much it removes on test rows.

    The coordinate is set to its mean over training rows whose prompt asks for nothing. Beside it, ablation to midway
    between the classes and to zero, and of a random direction to zero.
    """

    def measured(rows: Examples, *change: Ablate) -> dict[str, float]:
        return _mean(effects(model, rows, behaviour.measure, *change, progress=False), rows)

    plain = collect(model, parts.train.where(**behaviour.neutral), sites=list(directions), progress=False)
    usual = {site: float(plain[site].float().mean(0) @ one.vector) for site, one in directions.items()}
    known = parts.validation.where(**behaviour.instructed)
    left = {site: measured(known, Ablate(one, to=usual[site]))["value"] for site, one in directions.items()}
    site = min(left, key=lambda one: left[one])
    rows = parts.test.where(**behaviour.instructed)
    before, after = measured(rows), measured(rows, Ablate(directions[site], to=usual[site]))
    return {
        "site": str(site),
        "before": before,
        "after": after,
        "removed": (before["value"] - after["value"]) / before["value"],
        "to_midway": measured(rows, Ablate(directions[site])),
        "to_zero": measured(rows, Ablate(directions[site], to="zero")),
        "random_to_zero": measured(rows, Ablate(directions[site].random_like(seed), to="zero")),
        "n": len(rows),
    }


def weight_edit(model: Model, behaviour: Behaviour, direction: Direction, parts: Parts) -> dict[str, Any]:
    """Zero-ablation hooks at every writer against the same thing written into the weights, and its undo."""
    neutral, asked = parts.test.where(**behaviour.neutral), parts.test.where(**behaviour.instructed)
    before = {name: tensor.detach().clone() for name, tensor in model.hf.state_dict().items()}
    everywhere = Ablate(direction, to="zero", sites=writers(model), span="all")
    with apply(model, everywhere):
        hooked = _logits(model, neutral)
    with edit(model, Orthogonalize(direction)) as done:
        edited = _logits(model, neutral)
        instructed = _mean(effects(model, asked, behaviour.measure, progress=False), asked)
        parameters = len(done.parameters)
    after = model.hf.state_dict()
    return {
        "hook_and_edit_differ": float((hooked - edited).abs().max() / hooked.std()),
        "instructed_under_edit": instructed,
        "parameters": parameters,
        "undone_bit_for_bit": all(torch.equal(after[name], tensor) for name, tensor in before.items()),
    }


def _logits(model: Model, examples: Examples) -> torch.Tensor:
    rows = model.rows(examples.prompts)
    plan = batches(rows, tokens=8192, pad_id=model.pad_id, padding_side="left")
    return torch.cat([model.next_token_logits(batch.to(model.device)) for batch in plan])


def off_target(
    model: Model, direction: Direction, strength: float, other: Behaviour, *, span: str, seed: int
) -> dict[str, float]:
    """Change of another behaviour's measure, on its own neutral test rows, at this strength; and that of a random
    direction of the same norm."""
    rows = Parts.of(data.load(other.name), seed=seed).test.where(**other.neutral)

    def measured(*change: Add) -> np.ndarray:
        return effects(model, rows, other.measure, *change, progress=False)["value"].to_numpy()

    plain = measured()
    change = measured(Add(direction, strength, span=span)) - plain
    random = measured(Add(direction.random_like(seed), strength, span=span)) - plain
    low, high = mean_interval(change, rows.groups)
    return {
        "value": float(np.nanmean(change)),
        "low": low,
        "high": high,
        "random": float(np.nanmean(random)),
        "groups": len(set(rows.groups)),
    }
