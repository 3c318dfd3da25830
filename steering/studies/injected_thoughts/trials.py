"""Trials: which concept is injected where, how strongly and under which wording; and the arms beside it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens.errors import DataError

# With fewer concepts, what is chosen and what is reported are kept apart by round, with all concepts in both.
MANY_CONCEPTS = 8


def design(concepts: Sequence[str], trials: int, prompts: int, *, deterministic: bool, seed: int) -> pd.DataFrame:
    """The trials of a cell: every concept once a round, each round in the next wording; what is a group, and its half.

    Groups are the concepts, or the rounds where there are fewer than eight concepts: half of them are for choosing.
    Where the same question always has the same answer, a round more than there are wordings would tell nothing.

    Raises DataError: fewer trials than concepts, or a single group.
    """
    count = len(concepts)
    rounds = trials // count
    if rounds < 1:
        raise DataError(f"trials={trials} are fewer than the {count} concepts; every concept needs a trial.")
    rounds = min(rounds, prompts) if deterministic else rounds
    many = count >= MANY_CONCEPTS
    rows = [
        {"trial": r * count + k, "round": r, "concept": name, "prompt": (r + k if many else r) % prompts}
        for r in range(rounds)
        for k, name in enumerate(concepts)
    ]
    table = pd.DataFrame(rows)
    table["group"] = table["concept"] if many else "round " + table["round"].astype(str)
    groups = list(dict.fromkeys(table["group"]))
    if len(groups) < 2:
        more = (
            "more wordings in asked.trial, as the same question has the same answer" if deterministic else "more trials"
        )
        raise DataError(
            f"{count} concepts in {rounds} round: the strength is chosen on half of the rounds and reported on the "
            f"others; give {more}, or at least {MANY_CONCEPTS} concepts."
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    first = {groups[k] for k in order[: len(groups) // 2]}
    table["half"] = np.where(table["group"].isin(first), "validation", "test")
    return table


def sham(base: pd.DataFrame) -> pd.DataFrame:
    """The same trials without an injection."""
    return base.assign(arm="sham", site="", strength=0.0, draw=-1)


def injected(base: pd.DataFrame, site: str, strengths: Sequence[float]) -> pd.DataFrame:
    """The same trials at each strength."""
    parts = [base.assign(arm="injected", site=site, strength=float(one), draw=-1) for one in strengths]
    return pd.concat(parts, ignore_index=True)


def random(base: pd.DataFrame, site: str, strength: float, draws: int) -> pd.DataFrame:
    """The same trials with random directions of the same norm, so many for each concept."""
    parts = [base.assign(arm="random", site=site, strength=strength, draw=draw) for draw in range(draws)]
    return pd.concat(parts, ignore_index=True)


def negated(base: pd.DataFrame, site: str, strength: float) -> pd.DataFrame:
    """The same trials with the opposite vector."""
    return base.assign(arm="negated", site=site, strength=-strength, draw=-1)
