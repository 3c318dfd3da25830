"""What tasks give: a table with a row for every question, and scores with intervals."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from steering.paired import paired


@dataclass(frozen=True, eq=False)
class Task:
    """What a model did in a task.

    table: a row for every question, with `value` (nan where it is missing), `mass`, what was left on the options, and
    `group`, equal for what belongs together (without it each row is by itself).
    scores: score, value, low, high, p (of 0, where that is a question), n, missing. notes: what a reader has to know.
    """

    name: str
    table: pd.DataFrame
    scores: pd.DataFrame
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, score: str) -> pd.Series:
        """One score. Raises DataError: no such score."""
        found = self.scores[self.scores["score"] == score]
        if found.empty:
            raise DataError(f"No score {score!r}; available: {available(self.scores['score'])}.")
        return found.iloc[0]


def score(name: str, values: np.ndarray, groups: np.ndarray, *, seed: int, tested: bool = False) -> dict[str, Any]:
    """A mean with its bootstrap interval over groups; tested: with p that it is 0, by flipping signs."""
    found = paired(values, groups, seed=seed)
    return {
        "score": name,
        "value": found["change"],
        "low": found["low"],
        "high": found["high"],
        "p": found["p"] if tested else np.nan,
        "n": found["n"],
        "missing": found["missing"],
    }
