"""The main job: from texts to measured effect for two behaviours of the embedded organism.

Sweep on training rows, choose layer and strength on validation groups, steer, ablate and edit, and report on test
groups. `run` returns plain tables and numbers; `steering.demo_page` makes the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from lens import data
from lens.collect import collect
from lens.examples import Examples
from lens.model import Model
from lens.tokens import batches
from probes.direction import Direction
from probes.evaluate import evaluate
from probes.fit import Fitted, fit
from probes.metrics import mean_interval
from probes.sweep import best, sweep
from steering import measures
from steering.apply import apply
from steering.dose import choose_strength, dose_response
from steering.edit import Orthogonalize, edit
from steering.effects import effects
from steering.interventions import Ablate, Add, writers
from steering.measures import Measure

Where = dict[str, Any]
STRENGTHS = (-2.0, -1.5, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of the organism: which rows fit it, test it, and are steered; and what is measured.

    train: rows the probe is fitted on. tests: rows it is tested on, by what they hold out. neutral: rows that are
    steered. instructed: rows whose prompt asks for what the measure counts (the prompt-only baseline, and what
    ablation has to remove).
    """

    name: str
    classes: tuple[str, str]
    train: Where
    tests: dict[str, Where]
    neutral: Where
    instructed: Where
    measure: Measure


HONESTY = Behaviour(
    name="honesty",
    classes=("lies", "tells the truth"),
    train={"cue": "role", "held_out": "none"},
    tests={
        "roles → system prompts": {"cue": "system", "held_out": "none"},
        "roles → audiences": {"cue": "audience", "held_out": "none"},
        "roles → held-out paraphrases, entities and templates": {"cue": "system", "held_out": "all"},
    },
    neutral={"cue": "none"},
    instructed={"cue": "system", "held_out": "none", "label": 0},
    measure=measures.option("{wrong}", "{right}", name="P(lie)"),
)
WARMTH = Behaviour(
    name="warmth",
    classes=("cold", "warm"),
    train={"level": [-3, -2, -1, 1, 2, 3], "held_out": "none"},
    tests={"held-out synonyms": {"held_out": "synonym"}},
    neutral={"persona": "none"},
    instructed={"level": 3, "held_out": "none"},
    measure=measures.option("{high}", ["{low}", "{middle}"], name="P(warm opener)"),
)


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
    texts: pd.DataFrame
    ablation: dict[str, Any]
    edit: dict[str, Any]
    off_target: dict[str, float] = field(default_factory=dict)

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
            "random_extreme": own.loc["random", "extreme"],
            "coherence": own.loc["direction", "coherence"],
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
    stories = []
    for behaviour in behaviours:
        say(f"{behaviour.name}: reading, fitting, steering, editing")
        stories.append(_run_one(model, behaviour, seed, progress))
    for story in stories:
        for other in stories:
            if other is not story:
                story.off_target[other.behaviour.measure.name] = _off_target(model, story, other.behaviour, seed)
    return stories


def _run_one(model: Model, behaviour: Behaviour, seed: int, progress: bool) -> Story:
    examples = data.load(behaviour.name)
    train, validation, test = _parts(examples, behaviour, seed)
    acts = collect(model, train, sites="resid_post", span="prompt[-1]", progress=progress)
    table = sweep(acts, ["mean_difference", "logistic"], seed=seed, progress=progress)
    chosen = best(table)
    probe = fit(acts, chosen.site, chosen.probe)
    evaluations, scores = {}, None
    for name, rows in _test_sets(examples, behaviour, train, test).items():
        read = collect(model, rows, sites=[chosen.site], span="prompt[-1]", progress=progress)
        evaluations[name] = evaluate(probe, read, train=acts, seed=seed)
        if scores is None:
            scores = (probe.direction.score_activations(read).numpy(), read.labels)
    assert scores is not None
    directions = {site: fit(acts, site).direction for site in acts.sites}
    neutral = _pick(validation, behaviour.neutral)
    curves = _validation_curves(model, behaviour, directions, neutral, seed, progress)
    direction, strength = _choose(curves, directions)
    neutral = _pick(test, behaviour.neutral)
    asked = _pick(test, behaviour.instructed)
    curve = dose_response(
        model, direction, neutral, behaviour.measure, strengths=STRENGTHS, prompted=asked, seed=seed, progress=progress
    )
    return Story(
        behaviour=behaviour,
        sweep=table,
        probe=probe,
        evaluations=evaluations,
        scores=scores,
        validation=curves,
        direction=direction,
        strength=strength,
        curve=curve,
        texts=_texts(model, neutral, direction, strength, seed),
        ablation=_ablation(model, behaviour, directions, validation, test, progress),
        edit=_edit(model, behaviour, direction, neutral, asked),
    )


def _parts(examples: Examples, behaviour: Behaviour, seed: int) -> tuple[Examples, Examples, Examples]:
    """Training, validation and test rows that share no group."""
    rest, test = examples.split(test=0.35, by="group", seed=seed)
    train, validation = rest.split(test=0.35, by="group", seed=seed)
    return _pick(train, behaviour.train), validation, test


def _pick(examples: Examples, where: Where) -> Examples:
    return examples.where(**where)


def _test_sets(examples: Examples, behaviour: Behaviour, train: Examples, test: Examples) -> dict[str, Examples]:
    """The rows of each test that share no group with training, and the test groups' own rows of the same kind."""
    known = set(train.groups)
    sets = {}
    for name, where in behaviour.tests.items():
        rows = _pick(examples, where)
        sets[name] = rows.select(np.array([group not in known for group in rows.groups]))
    return sets | {"same kind of prompt, held-out groups": _pick(test, behaviour.train)}


def _validation_curves(
    model: Model,
    behaviour: Behaviour,
    directions: dict[Any, Direction],
    neutral: Examples,
    seed: int,
    progress: bool,
) -> pd.DataFrame:
    curves = [
        dose_response(
            model,
            direction,
            neutral,
            behaviour.measure,
            strengths=STRENGTHS,
            random_draws=0,
            seed=seed,
            progress=progress,
        )
        for direction in directions.values()
    ]
    return pd.concat(curves, ignore_index=True)


def _choose(curves: pd.DataFrame, directions: dict[Any, Direction]) -> tuple[Direction, float]:
    """The layer and strength with the largest coherent effect on validation rows."""
    options = []
    for site, direction in directions.items():
        curve = curves[curves["site"] == str(site)]
        strength = choose_strength(curve)
        effect = abs(float(curve.loc[curve["strength"] == strength, "change"].iloc[0]))
        options.append((effect, direction, strength))
    _, direction, strength = max(options, key=lambda option: option[0])
    return direction, strength


def _texts(model: Model, neutral: Examples, direction: Direction, strength: float, seed: int) -> pd.DataFrame:
    shown = neutral.select(np.arange(min(8, len(neutral))))
    columns: dict[str, list[str]] = {"prompt": shown.texts(response=False), "unsteered": model.generate(shown)}
    for name, vector in (("steered", direction), ("random direction, same norm", direction.random_like(seed))):
        with apply(model, Add(vector, strength)):
            columns[name] = model.generate(shown)
    return pd.DataFrame(columns)


def _mean(table: pd.DataFrame, examples: Examples) -> dict[str, float]:
    values = table["value"].to_numpy()
    low, high = mean_interval(values, examples.groups)
    return {"value": float(np.nanmean(values)), "low": low, "high": high}


def _ablation(
    model: Model,
    behaviour: Behaviour,
    directions: dict[Any, Direction],
    validation: Examples,
    test: Examples,
    progress: bool,
) -> dict[str, Any]:
    """Mean-ablate at the layer that removes most on validation rows; how much it removes on test rows."""

    def measured(rows: Examples, *change: Any) -> dict[str, float]:
        return _mean(effects(model, rows, behaviour.measure, *change, progress=progress), rows)

    known = _pick(validation, behaviour.instructed)
    left = {site: measured(known, Ablate(direction))["value"] for site, direction in directions.items()}
    site = min(left, key=lambda one: left[one])
    rows = _pick(test, behaviour.instructed)
    before, after = measured(rows), measured(rows, Ablate(directions[site]))
    zero = measured(rows, Ablate(directions[site], to="zero"))
    return {
        "site": str(site),
        "before": before,
        "after": after,
        "to_zero": zero,
        "removed": (before["value"] - after["value"]) / before["value"],
        "n": len(rows),
    }


def _edit(
    model: Model, behaviour: Behaviour, direction: Direction, neutral: Examples, asked: Examples
) -> dict[str, Any]:
    """Zero-ablation hooks at every writer against the same thing written into the weights, and its undo."""
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


def _off_target(model: Model, story: Story, other: Behaviour, seed: int) -> float:
    """Change of another behaviour's measure, on its own neutral test rows, at the chosen strength."""
    _, _, test = _parts(data.load(other.name), other, seed)
    rows = _pick(test, other.neutral)
    plain = effects(model, rows, other.measure, progress=False)["value"]
    steered = effects(model, rows, other.measure, Add(story.direction, story.strength), progress=False)["value"]
    return float((steered - plain).mean())


__all__ = ["HONESTY", "WARMTH", "Behaviour", "Story", "run"]
