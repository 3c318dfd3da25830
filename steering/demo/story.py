"""The main job: from texts to measured effect for behaviours of the embedded organism.

Sweep on training rows, choose layer and strength on validation groups, steer, ablate and edit, and report on test
groups.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from lens import data
from lens.activations import Activations
from lens.collect import collect
from lens.model import Model
from probes.direction import Direction
from probes.evaluate import evaluate
from probes.fit import Fitted, fit
from probes.sweep import best, sweep
from steering.choose import choose
from steering.demo import causal
from steering.demo.behaviours import HONESTY, WARMTH, Behaviour, Parts
from steering.dose import dose_response

# Both behaviours are decided by the reply's first word, so that only the position before it is steered.
SPAN = "prompt[-1]"
STRENGTHS = (-2.0, -1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0)


@dataclass
class Story:
    """Everything one behaviour's run produced, for the page and for results.json."""

    behaviour: Behaviour
    sweep: pd.DataFrame
    probe: Fitted
    evaluations: dict[str, pd.DataFrame]
    scores: tuple[np.ndarray, np.ndarray]
    validation: pd.DataFrame
    direction: Direction
    strength: float
    curve: pd.DataFrame
    prompts: list[str]
    texts: dict[str, pd.DataFrame]
    ablation: dict[str, Any]
    edit: dict[str, Any]
    off_target: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def at_choice(self) -> dict[str, Any]:
        """The test curve at the chosen strength."""
        own = self.curve[self.curve["strength"] == self.strength].set_index("arm")
        plain = self.curve[(self.curve["arm"] == "direction") & (self.curve["strength"] == 0)].iloc[0]
        return {
            "unsteered": plain["value"],
            "steered": own.loc["direction", "value"],
            "low": own.loc["direction", "low"],
            "high": own.loc["direction", "high"],
            "random": own.loc["random", "value"],
            "random_low": own.loc["random", "low"],
            "random_high": own.loc["random", "high"],
            "coherence": own.loc["direction", "coherence"],
            "coherent_texts": {arm: float(table["coherence"].mean()) for arm, table in self.texts.items()},
        }


def run(
    model: Model,
    behaviours: Sequence[Behaviour] = (HONESTY, WARMTH),
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    progress: bool = True,
) -> list[Story]:
    """Run every behaviour; `say` is told what is being done. Afterwards each is steered against the others."""
    with _one_thread():
        stories = [_run_one(model, behaviour, seed, say, progress) for behaviour in behaviours]
        for story in stories:
            for other in (one.behaviour for one in stories if one is not story):
                change = causal.off_target(model, story.direction, story.strength, other, span=SPAN, seed=seed)
                story.off_target[other.measure.name] = change
    return stories


@contextmanager
def _one_thread() -> Iterator[None]:
    """The organism is so small that threads only wait for each other; beside other work they wait ten times longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _run_one(model: Model, behaviour: Behaviour, seed: int, say: Callable[[str], None], progress: bool) -> Story:
    parts = Parts.of(data.load(behaviour.name), seed=seed)
    say(f"{behaviour.name}: reading every layer, fitting probes, testing them on what they have not seen")
    acts = collect(model, parts.train.where(**behaviour.train), progress=progress)
    table = sweep(acts, ["mean_difference", "logistic"], seed=seed, progress=progress)
    chosen = best(table)
    probe = fit(acts, chosen.site, chosen.probe)
    tests = {
        name: collect(model, rows, sites=[chosen.site], progress=progress)
        for name, rows in parts.tests(behaviour).items()
    }
    first = next(iter(tests.values()))
    say(f"{behaviour.name}: choosing layer and strength on validation groups, steering, ablating, editing")
    contexts = collect(model, parts.train.where(**behaviour.contexts), progress=progress)
    directions = {site: fit(contexts, site).direction for site in contexts.sites}
    choice = choose(
        model,
        list(directions.values()),
        parts.validation.where(**behaviour.neutral),
        behaviour.measure,
        strengths=STRENGTHS,
        span=SPAN,
        progress=progress,
    )
    direction, strength = choice.direction, choice.strength
    neutral = parts.test.where(**behaviour.neutral)
    return Story(
        behaviour=behaviour,
        sweep=table,
        probe=probe,
        evaluations={name: evaluate(probe, read, train=acts, seed=seed) for name, read in tests.items()},
        scores=(_scaled(probe.direction, first), first.labels),
        validation=choice.validation,
        direction=direction,
        strength=strength,
        curve=dose_response(
            model,
            direction,
            neutral,
            behaviour.measure,
            strengths=STRENGTHS,
            span=SPAN,
            prompted=parts.test.where(**behaviour.instructed),
            seed=seed,
            progress=progress,
        ),
        prompts=neutral.texts(response=False),
        texts=causal.texts(model, neutral, direction, strength, span=SPAN, seed=seed),
        ablation=causal.ablation(model, behaviour, directions, parts, seed=seed),
        edit=causal.weight_edit(model, behaviour, direction, parts),
    )


def _scaled(direction: Direction, acts: Activations) -> np.ndarray:
    return direction.score_activations(acts).numpy() / (direction.norm * direction.residual_norm)
