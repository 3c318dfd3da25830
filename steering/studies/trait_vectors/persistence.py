"""Persistence: whether a trait lasts over the turns of a dialogue, asked for in words or steered.

    d_t = score_t − score_t(neither asked for nor steered)          the same dialogue and turn
    d_t ≈ a ρ^t,     half-life = log ½ / log ρ                      least squares; slope: of a line through d_t
    kept            the share of dialogues where d_t never falls below half of d_0

Source: TraitBasis (2025), where people judge whether a trait lasts; ρ and half-life are this package's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.collect import collect
from lens.errors import DataError, ModelError
from lens.examples import Examples
from lens.generation import generate
from lens.intervals import percentiles
from lens.model import Model
from probes.direction import Direction
from steering.apply import apply
from steering.effects import coherent, effects
from steering.interventions import Add, Intervention, Unit
from steering.measures import Measure
from steering.studies.imbued import imbued, takes_system

PLAIN, PROMPTED, STEERED = "plain", "prompted", "steered"
DRAWS = 500
# Above 1, a trait grows.
RATES = np.arange(1, 1501) / 1000


def persistence(
    model: Model,
    dialogues: Sequence[Sequence[str]],
    measure: Measure,
    *,
    direction: Direction,
    prompt: str | None = None,
    strength: float | None = None,
    unit: Unit = "norm",
    columns: Mapping[str, object] | None = None,
    max_new_tokens: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A trait's score and projection before every reply, over dialogues of given user turns; and how it lasts.

    Arms: `plain`; `prompted`, with the system prompt `prompt`; `steered`, by `strength` along `direction` from each
    last prompt token on. The model's own replies stand in the dialogue; an empty one ends it there (`missing` counts
    the turns that are then without a value). columns: what the measure reads beside the prompt, such as high and low.
    The projection is on `direction` at the last token of the prompt; steered, it holds what is added.

    Returns the turns (coherence: of the measure; sound: whether the reply is neither empty nor a loop), and a row per
    arm from `lasting`, with the means of both. Raises ModelError: a model without a chat template. DataError:
    no dialogues, of unequal length, or neither prompt nor strength.
    """
    if not getattr(model.tokenizer, "chat_template", None):
        raise ModelError(f"{model.name} has no chat template: it holds no dialogue.")
    if not len(dialogues) or len({len(turns) for turns in dialogues}) != 1 or len(dialogues[0]) < 2:
        raise DataError("Dialogues are lists of user turns, at least two each, as many in every one.")
    if prompt is None and strength is None:
        raise DataError("Give a system prompt that asks for the trait, a strength to steer with, or both.")
    if measure.needs == "model":
        raise DataError(
            f"{measure.name} runs the model itself; give a measure of the next token, or of generated text."
        )
    arms: dict[str, tuple[str | None, list[Intervention]]] = {PLAIN: (None, [])}
    if prompt is not None:
        arms[PROMPTED] = (prompt, [])
    if strength is not None:
        arms[STEERED] = (None, [Add(direction, strength, unit=unit)])
    tables = [
        _talked(
            model, dialogues, measure, direction, system, changes, dict(columns or {}), max_new_tokens, progress
        ).assign(arm=arm)
        for arm, (system, changes) in arms.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table = table[["arm", "dialogue", "turn", "score", "coherence", "projection", "reply", "sound"]]
    rows = []
    for arm in arms:
        if arm != PLAIN:
            here = table[table["arm"] == arm]
            sound = {"coherence": float(here["coherence"].mean()), "sound": float(here["sound"].mean())}
            rows.append({"arm": arm, **lasting(_change(table, arm), seed=seed), **sound})
    return table, pd.DataFrame(rows)


def lasting(change: Float[np.ndarray, "dialogues turns"], *, seed: int = 0) -> dict[str, float]:
    """How a change lasts over turns: slope, rho and half_life with 95 % intervals over dialogues, kept, first and last
    mean, missing. half_life: infinite where rho is 1 or more; rho: nan where nothing changed at the first turn."""
    known = ~np.isnan(change)
    found: dict[str, float] = {"dialogues": len(change), "turns": change.shape[1], "missing": int((~known).sum())}
    if not known.any():
        return found | dict.fromkeys(("first", "last", "slope", "rho", "half_life", "kept"), math.nan)
    random = np.random.default_rng(seed)
    # How often each dialogue is in each resample; the first is the dialogues as they are.
    counts = random.multinomial(len(change), np.full(len(change), 1 / len(change)), size=DRAWS).astype(float)
    counts = np.vstack([np.ones(len(change)), counts])
    total, present = counts @ np.where(known, change, 0.0), counts @ known.astype(float)
    for name, of in (("slope", _slopes), ("rho", _rhos)):
        value, *boots = of(total, present)
        sure = np.array(boots)[~np.isnan(boots)]
        low, high = percentiles(sure, 0.95) if len(sure) and len(change) > 1 else (math.nan, math.nan)
        found |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    found |= {f"half_life{end}": half_life(found[f"rho{end}"]) for end in ("", "_low", "_high")}
    whole = change[known.all(axis=1)]
    size = whole * np.sign(whole[:, :1]) if len(whole) else whole
    kept = (size >= size[:, :1] / 2).all(axis=1) & (size[:, 0] > 0) if len(whole) else np.array([math.nan])
    means = np.nanmean(np.where(known.any(axis=0), change, 0), axis=0)
    return found | {"kept": float(kept.mean()), "first": float(means[0]), "last": float(means[-1])}


def half_life(rho: float) -> float:
    """Turns until half is left: log ½ / log ρ; infinite from ρ = 1 on, 0 where nothing is left at once."""
    if math.isnan(rho) or rho >= 1:
        return math.nan if math.isnan(rho) else math.inf
    return math.log(0.5) / math.log(rho) if rho > 0 else 0.0


def _slopes(total: Float[np.ndarray, "draws turns"], present: Float[np.ndarray, "draws turns"]) -> np.ndarray:
    """Of the line through all changes: Σ (t − t̄) d / Σ (t − t̄)²; from their sums and numbers at each turn."""
    turn = np.arange(total.shape[1])
    n = np.maximum(present.sum(axis=1), 1)
    centred = turn - (present @ turn / n)[:, None]
    spread = (present * centred**2).sum(axis=1)
    return np.where(spread > 0, (total * centred).sum(axis=1) / np.where(spread > 0, spread, 1), math.nan)


def _rhos(total: Float[np.ndarray, "draws turns"], present: Float[np.ndarray, "draws turns"]) -> np.ndarray:
    """ρ of a ρ^t by least squares, to three digits. With the best a for each ρ, the squares that are explained are
    (Σ d ρ^t)² / Σ ρ^2t; from the sums and numbers of d at each turn."""
    power = RATES[:, None] ** np.arange(total.shape[1])
    explained = (total @ power.T) ** 2 / np.maximum(present @ (power**2).T, 1e-12)
    return np.where(explained.max(axis=1) > 0, RATES[explained.argmax(axis=1)], math.nan)


def _change(table: pd.DataFrame, arm: str) -> Float[np.ndarray, "dialogues turns"]:
    wide = {
        name: table[table["arm"] == name].pivot(index="dialogue", columns="turn", values="score").to_numpy(dtype=float)
        for name in (PLAIN, arm)
    }
    return np.asarray(wide[arm] - wide[PLAIN])


@dataclass
class _Dialogue:
    """The messages so far; `over` where the model said nothing."""

    messages: list[dict[str, str]]
    over: bool = False


def _talked(
    model: Model,
    dialogues: Sequence[Sequence[str]],
    measure: Measure,
    direction: Direction,
    system: str | None,
    changes: list[Intervention],
    columns: dict[str, object],
    limit: int,
    progress: bool,
) -> pd.DataFrame:
    shown = takes_system(model)
    held = [_Dialogue([]) for _ in dialogues]
    rows = []
    for turn in range(len(dialogues[0])):
        live = [number for number, one in enumerate(held) if not one.over]
        score, mass, along, sound = np.full((4, len(held)), np.nan)
        replies = [""] * len(held)
        for number in live:
            held[number].messages.append({"role": "user", "content": dialogues[number][turn]})
        if live:
            prompts = [imbued(list(held[number].messages), system or "", system=shown) for number in live]
            frame = pd.DataFrame({"prompt": prompts, "group": live})
            examples = Examples(frame.assign(**{name: [value] * len(live) for name, value in columns.items()}))
            found = effects(model, examples, measure, *changes, progress=progress)
            score[live], mass[live] = (found[name].to_numpy(dtype=float) for name in ("value", "coherence"))
            with apply(model, *changes):
                acts = collect(model, examples, sites=[direction.site], span="prompt[-1]", progress=progress)
                made = generate(model, examples.prompts, max_new_tokens=limit)
            along[live] = direction.project(acts[direction.site]).to(torch.float64).numpy()
            for number, one in zip(live, made, strict=True):
                replies[number] = one.text.strip()
                held[number].over = not replies[number]
                # Whether it loops; its likelihood is not asked, for which another prompt would be needed.
                sound[number] = coherent(one, math.nan, -math.inf)
                held[number].messages.append({"role": "assistant", "content": replies[number]})
        rows += [
            {
                "dialogue": k,
                "turn": turn,
                "score": score[k],
                "coherence": mass[k],
                "projection": along[k],
                "reply": replies[k],
                "sound": sound[k],
            }
            for k in range(len(held))
        ]
    return pd.DataFrame(rows)
