"""Matching: the strength at which steering a persona does to its traits what saying it does.

    check(p) = Σ_t p_t Δ_t / Σ_t |p_t|,     Δ_t: change of log P(high) − log P(low) on the checks of trait t

α_p: the smallest strength, in mean residual norms, at which check(p) steered reaches check(p) prompted, on the
validation part. Without a match a difference between prompting and steering may be one of strength alone.

Source: the manipulation check stands for the matched strength of Persona Non Grata (2026), whose procedure is not
published; operationalised here.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.intervals import mean_interval
from steering.studies.personas.cast import Cast

LEAST, MOST, POINTS, FINER, ROUNDS = 2.0**-6, 2.0**2, 9, 6, 2
FLOOR = 0.9

# strengths[p, k] -> by trait, log-probabilities [p, k, n, 2] on its checks
Steer = Callable[[np.ndarray], dict[str, np.ndarray]]


def shifts(
    cast: Cast, answers: dict[str, np.ndarray], neutral: dict[str, np.ndarray]
) -> tuple[Float[np.ndarray, " p *k"], dict[str, np.ndarray]]:
    """check(p) of answers [p, ..., n, 2] by trait, against the neutral ones [n, 2]; and the parts of it by row."""
    weight = np.abs(cast.signs).sum(axis=1)
    total, by_row = 0.0, {}
    for number, trait in enumerate(cast.traits):
        change = odds(answers[trait]) - odds(neutral[trait])
        sign = cast.signs[:, number].reshape(-1, *[1] * (change.ndim - 1)) / weight.reshape(
            -1, *[1] * (change.ndim - 1)
        )
        by_row[trait] = sign * change
        total = total + by_row[trait].mean(axis=-1)
    return np.asarray(total), by_row


def odds(answers: Float[np.ndarray, "*rows 2"]) -> Float[np.ndarray, "*rows"]:
    """log P(first side) − log P(second side)."""
    return np.asarray(answers[..., 0] - answers[..., 1])


def moved(cast: Cast, by_row: dict[str, np.ndarray], groups: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Lower ends of the 95 % intervals of check(p) prompted: above 0, there is something to match."""
    low = []
    for number in range(len(cast.names)):
        parts = [trait for trait, sign in zip(cast.traits, cast.signs[number], strict=True) if sign]
        # Means of traits add up: of all rows, those of a trait with few count as much as those of one with many.
        rows = sum(len(by_row[trait][number]) for trait in parts)
        values = np.concatenate([by_row[trait][number] * rows / len(by_row[trait][number]) for trait in parts])
        low.append(mean_interval(values, np.concatenate([groups[trait] for trait in parts]), seed=seed)[0])
    return np.array(low)


def solve(
    cast: Cast,
    target: Float[np.ndarray, " p"],
    neutral: dict[str, np.ndarray],
    steer: Steer,
    *,
    tolerance: float,
) -> pd.DataFrame:
    """Of each persona: strength, what its check is there, coherence (mass left on the options, over the neutral one),
    whether it is matched, and why not."""
    people = np.arange(len(target))
    low = np.zeros(len(target))
    grid = np.tile(np.geomspace(LEAST, MOST, POINTS), (len(target), 1))
    for _ in range(1 + ROUNDS):
        answers = steer(grid)
        found = shifts(cast, answers, neutral)[0]
        reached = found >= target[:, None]
        place = np.where(reached.any(axis=1), reached.argmax(axis=1), grid.shape[1] - 1)
        strength, check = grid[people, place], found[people, place]
        mass = _mass(answers, people, place)
        low = np.where(place > 0, grid[people, np.maximum(place - 1, 0)], low)
        grid = np.linspace(low, strength, FINER + 1, axis=1)[:, 1:]
    unsteered = np.mean([np.exp(one).sum(axis=-1).mean() for one in neutral.values()])
    coherence = mass / unsteered
    near = np.abs(check - target) <= tolerance * np.abs(target)
    table = pd.DataFrame(
        {"persona": cast.names, "strength": strength, "target": target, "check": check, "coherence": coherence}
    )
    table["matched"] = near & (coherence >= FLOOR) & (target > 0)
    table["note"] = np.select(
        [target <= 0, ~near, coherence < FLOOR],
        [
            "its words do not move its traits",
            "no strength does as much to its traits",
            "incoherent where it is matched",
        ],
        "",
    )
    return table


def _mass(answers: dict[str, np.ndarray], people: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.asarray(
        np.mean([np.exp(one[people, place]).sum(axis=-1).mean(axis=-1) for one in answers.values()], axis=0)
    )
