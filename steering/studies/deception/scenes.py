"""Scenes: what a detector is tested on: scenarios with deceptive and honest answers, and ordinary chats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from lens.errors import DataError, available
from lens.examples import Examples
from lens.generation import generate
from lens.model import Model

HONEST, ERROR, DECEPTIVE = "honest", "error", "deceptive"
# Below so many control chats a threshold at 1 % is one of their ten highest scores.
ENOUGH = 1000


def answered(model: Model, examples: Examples, *, max_new_tokens: int = 32, batch_tokens: int = 8192) -> Examples:
    """The examples with what the model itself says, greedily, as `response`: missing where that is empty or cut off by
    the token limit; `finished` says which. Raises as `Model.generate`."""
    made = generate(model, examples.prompts, max_new_tokens=max_new_tokens, batch_tokens=batch_tokens)
    said = [one.text.strip() if one.finished and one.text.strip() else None for one in made]
    return Examples(examples.frame.assign(response=said, finished=[one.finished for one in made]))


@dataclass(frozen=True, eq=False)
class Scenes:
    """Rows to test on. examples: with a response where one is read. missing: rows left out, by why. kept:
    which of those given."""

    examples: Examples
    missing: dict[str, int]
    kept: Bool[np.ndarray, " given"]

    @classmethod
    def of(cls, examples: Examples, *, response: bool, labelled: bool, what: str) -> "Scenes":
        """The rows that can be read and, with `labelled`, that have a label.

        Raises DataError: no such row, or a label of which there is none.
        """
        frame = examples.frame
        silent = frame["response"].isna() if response and "response" in frame else pd.Series(False, frame.index)
        open_ = frame["label"].isna() if labelled else pd.Series(False, frame.index)
        kept = ~(silent | open_)
        missing = {"no response": int(silent.sum()), "no label": int((open_ & ~silent).sum())}
        if response and "response" not in frame:
            raise DataError(f"The {what} have no column 'response', which is what is read.")
        if not kept.any():
            raise DataError(f"None of the {len(frame)} {what} can be read: {_counted(missing)}.")
        counted = {why: count for why, count in missing.items() if count}
        scenes = cls(examples.select(kept.to_numpy()), counted, kept.to_numpy(dtype=bool))
        if labelled:
            held = set(scenes.labels.tolist())
            if held != {0, 1}:
                raise DataError(
                    f"All {len(scenes.examples)} {what} that can be read have label {held.pop()}: deceptive (1) and "
                    f"honest (0) answers are needed ({_counted(scenes.missing) or 'none is missing'})."
                )
        return scenes

    def of_rows(self, given: pd.Series) -> np.ndarray:
        """What is known of the rows given, of those that are read."""
        return given.to_numpy()[self.kept]

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        return self.examples.labels

    @property
    def groups(self) -> np.ndarray:
        return self.examples.groups.astype(str)

    @property
    def kinds(self) -> np.ndarray:
        """The column `kind`; `deceptive` or `honest` without it, and where it is blank."""
        if "kind" in self.examples.frame:
            return kinds_of(self.examples.frame).to_numpy(dtype=str)
        return np.where(self.labels == 1, DECEPTIVE, HONEST)

    @property
    def inside(self) -> Bool[np.ndarray, " n"]:
        """Rows in a scenario in which deception is at stake: where the column `scenario` is 1; all, without it."""
        if "scenario" not in self.examples.frame:
            return np.ones(len(self.examples), bool)
        return (self.examples.frame["scenario"] == 1).to_numpy(dtype=bool)

    @property
    def lies(self) -> list[str]:
        """Kinds of deceptive rows."""
        return sorted(set(self.kinds[self.labels == 1]))

    def said_missing(self, what: str) -> list[str]:
        """A note on the rows left out."""
        return [f"Left out of the {what}: {_counted(self.missing)}."] if self.missing else []


def check_columns(examples: Examples) -> None:
    """Raises DataError: a kind that is both deceptive and honest, a scenario that is neither 0 nor 1, or honest rows
    of which none is in a scenario."""
    frame = examples.frame
    known = frame[frame["label"].notna()]
    if "kind" in frame:
        mixed = known.groupby(kinds_of(known))["label"].nunique()
        if (mixed > 1).any():
            raise DataError(f"The kind {mixed.idxmax()!r} has deceptive and honest rows; name them apart.")
    if "scenario" in frame:
        odd = [one for one in frame["scenario"].unique().tolist() if one not in (0, 1)]
        if odd:
            raise DataError(f"Column 'scenario' holds {available(map(repr, odd))}; it is 1 in a scenario, else 0.")
        for value, what in ((0, "honest"), (1, "deceptive")):
            if len(known) and not ((known["label"] == value) & (known["scenario"] == 1)).any():
                raise DataError(f"No {what} row is in a scenario (column 'scenario' 1): flag rates need some.")


def kinds_of(frame: pd.DataFrame) -> pd.Series:
    """The column `kind`, with `deceptive` or `honest`, by the label, where it is blank."""
    kind = frame["kind"].astype(object)
    blank = kind.isna() | (kind.astype(str).str.strip() == "")
    label = np.where((frame["label"] == 1).fillna(False).to_numpy(dtype=bool), DECEPTIVE, HONEST)
    return kind.astype(str).where(~blank, pd.Series(label, index=frame.index))


def numbered(examples: Examples, kept: Bool[np.ndarray, " given"] | None = None) -> bool:
    """Whether groups are the numbers of rows (of those kept), which say nothing of what rows share."""
    rows = np.arange(len(examples)) if kept is None else np.flatnonzero(kept)
    return bool(np.array_equal(examples.groups, rows))


def check_apart(pairs: Examples, scenes: Examples) -> list[str]:
    """Raises DataError: texts that are in both. Notes groups that are."""
    same = set(pairs.texts(response=True)) & set(scenes.texts(response=True))
    if same:
        raise DataError(f"{len(same)} texts are both in the pairs and in the scenarios ({sorted(same)[0]!r:.60}).")
    shared = (
        set() if numbered(pairs) or numbered(scenes) else set(map(str, pairs.groups)) & set(map(str, scenes.groups))
    )
    if not shared:
        return []
    return [f"{len(shared)} groups are both in the pairs and in the scenarios ({available(sorted(shared), 3)})."]


def _counted(missing: dict[str, Any]) -> str:
    return ", ".join(f"{count} with {why}" for why, count in missing.items() if count)
