"""Interleaved timing: every round asks all contestants once, in random order, and compares within the round."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Ratio:
    """Median of the paired ratios to the base, with a 95 % bootstrap interval over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time (user and system, all threads) of one call: a busy machine disturbs it less than the clock on the
    wall."""
    start = time.process_time()
    run()
    return time.process_time() - start


def interleave(contestants: Mapping[str, Callable[[], float]], *, rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Seconds of each contestant (a function that runs it and says how long it took), round by round, after one round
    that does not count."""
    order, rng = list(contestants), random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            taken = contestants[name]()
            if round_ > 0:
                seconds[name].append(taken)
    return seconds


def ratio(taken: list[float], base: list[float], *, seed: int = 0) -> Ratio:
    """Of two contestants in the same rounds."""
    paired = np.array(taken) / np.array(base)
    draws = np.random.default_rng(seed).choice(paired, (DRAWS, len(paired)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return Ratio(float(np.median(paired)), float(low), float(high))
