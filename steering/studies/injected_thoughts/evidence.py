"""Evidence: what the trials at the chosen site and strength show, on the half that it was not chosen on.

A claim has to hold against every control at once: its value is the smallest of the differences, and its p the largest
(an intersection–union test, Berger 1982). Against random directions of the same norm the unit is the direction: were a
concept's vector no more than one of them, it would be any of the 1 + draws, for each concept apart:

    T = Σ_c (own_c − mean of random_c),     T* = the same with the own one drawn anew in every c
    p = (1 + #{T* ≥ T}) / (1 + m)

Against no injection and other questions the unit is the group: signs of the paired differences are flipped.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.intervals import mean_interval
from probes.metrics import p_value
from steering.paired import sign_flip
from steering.studies.injected_thoughts.rates import difference
from steering.studies.result import Claim

DRAWS = 9_999
DETECTS, NAMES, ONLY_THERE = "detects injected thoughts", "names what was injected", "not explained by yes-bias"
READINGS = {
    DETECTS: "Replies claim to notice an injected thought and then name it, beyond false alarms, random directions of "
    "the same norm, and its yes to unrelated questions.",
    NAMES: "Asked which, it names what was injected, beyond its habit and random directions. By itself no sign "
    "of noticing: a model in which the injection merely raises the word does so, too.",
    ONLY_THERE: "The injection raises its yes to the question whether it notices something, by more than its yes to "
    "unrelated questions, and by more than random directions do.",
}


class Arms(NamedTuple):
    """Tables of the same trials: injected, sham, random (several draws each), and the unrelated questions under the
    injection and without it."""

    injected: pd.DataFrame
    sham: pd.DataFrame
    random: pd.DataFrame
    unrelated: pd.DataFrame
    unrelated_sham: pd.DataFrame


class Beaten(NamedTuple):
    """A control, how far it is exceeded, the interval, and the p-value."""

    control: str
    value: float
    low: float
    high: float
    p: float


def claims(arms: Arms, *, seed: int) -> tuple[list[Claim], pd.DataFrame]:
    """The claims on the trials, and a table of every comparison behind them."""
    own, sham, random = (one.set_index("trial") for one in (arms.injected, arms.sham, arms.random))
    other, other_sham = arms.unrelated.set_index("trial"), arms.unrelated_sham.set_index("trial")
    groups = own["group"]
    detects = [
        against_directions(own["success"], random, "success", own, "random directions", seed),
        against_rows(own["success"], sham["claims"], groups, "no injection", seed),
        against_rows(own["success"], random.groupby(level=0)["claims"].mean(), groups, "claims after random", seed),
        against_rows(own["success"], other["claims"], groups, "unrelated questions", seed),
    ]
    # A random direction may silence a habit that a concept's vector leaves alone; the habit itself is no name.
    names = [
        against_directions(own["right"], random, "right", own, "random directions", seed),
        against_rows(own["right"], sham["right"], groups, "no injection", seed),
    ]
    rise, elsewhere = own["claims"] - sham["claims"], other["claims"] - other_sham["claims"]
    only = [
        against_directions(own["claims"], random, "claims", own, "random directions", seed),
        against_rows(rise, elsewhere, groups, "unrelated questions", seed),
    ]
    found = {DETECTS: detects, NAMES: names, ONLY_THERE: only}
    rows = [one._asdict() | {"claim": name} for name, beaten in found.items() for one in beaten]
    table = pd.DataFrame(rows)[["claim", *Beaten._fields]]
    return [_claim(name, beaten, own) for name, beaten in found.items()], table


def _claim(name: str, beaten: list[Beaten], own: pd.DataFrame) -> Claim:
    hardest = min(beaten, key=lambda one: one.value if one.value == one.value else -np.inf)
    p = float(np.max([one.p for one in beaten]))  # nan where any of them is
    low = float(np.min([one.low for one in beaten]))
    told = int(own["claims"].notna().sum())
    return Claim(
        name, hardest.value, low, hardest.high, 0.0, p, told, own["group"].nunique(), READINGS[name], hardest.value > 0
    )


def against_rows(own: pd.Series, other: pd.Series, groups: pd.Series, control: str, seed: int) -> Beaten:
    """Paired by trial; the interval is the wider of the bootstrap over groups and Newcombe's."""
    change = own - other.reindex(own.index)
    low, high = _interval(change, groups, own, other, seed)
    p = sign_flip(change.to_numpy(dtype=float), groups.to_numpy(), seed=seed)
    return Beaten(control, float(change.mean()), low, high, p)


def against_directions(
    own: pd.Series, random: pd.DataFrame, measure: str, trials: pd.DataFrame, control: str, seed: int
) -> Beaten:
    """Against random directions, each of which had the same trials as the concept it stands for."""
    mean = random.groupby(level=0)[measure].mean().reindex(own.index)
    change = own - mean
    low, high = _interval(change, trials["group"], own, mean, seed)
    each = random.groupby(["concept", "draw"])[measure].mean().unstack("draw")
    mine = own.groupby(trials["concept"]).mean().reindex(each.index)
    told = mine.notna() & each.notna().all(axis=1)
    p = swap(mine[told].to_numpy(dtype=float), each[told].to_numpy(dtype=float), seed=seed)
    return Beaten(control, float(change.mean()), low, high, p)


def swap(own: Float[np.ndarray, " k"], others: Float[np.ndarray, "k draws"], *, seed: int = 0) -> float:
    """p of the own one being larger than the others, by exchange within each row; nan without a row."""
    if not len(own):
        return float("nan")
    every = np.column_stack([own, others])
    # Of each possible choice: itself less the mean of the rest.
    gap = every - (every.sum(axis=1, keepdims=True) - every) / (every.shape[1] - 1)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, every.shape[1], size=(DRAWS, len(own)))
    null = gap[np.arange(len(own))[None], picks].sum(axis=1)
    return p_value(null, float(gap[:, 0].sum()))


def _interval(change: pd.Series, groups: pd.Series, own: pd.Series, other: pd.Series, seed: int) -> tuple[float, float]:
    low, high = mean_interval(change.to_numpy(dtype=float), groups.to_numpy(), seed=seed)
    if not (own.between(0, 1).all() and other.between(0, 1).all()):
        return low, high
    _, narrow, wide = difference(own, other)
    return min(low, narrow), max(high, wide)
