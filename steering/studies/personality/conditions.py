"""Conditions: what is done to a model so that it has more of a trait, or less: words in its prompt, or steering."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lens.errors import DataError, available
from steering.interventions import Directional, Intervention
from steering.studies.result import digest_of

Wordings = Sequence[str | Sequence[str]]
# Less than this away from a cosine of 1 or −1, two directions are one.
SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Condition:
    """Two ways to be, high and low in a trait. Made by `prompted` or `steered`.

    name: what tables call it. trait: the one that it is to bring about. high, low: wordings, each with the texts that
    say it. changes: what is done to the activations, high and low.
    """

    name: str
    trait: str
    high: tuple[tuple[str, ...], ...] = ()
    low: tuple[tuple[str, ...], ...] = ()
    changes: tuple[Intervention, Intervention] | None = None

    @classmethod
    def prompted(cls, trait: str, high: Wordings, low: Wordings, *, name: str | None = None) -> "Condition":
        """Texts that stand before what is asked: as the system message of a chat, or before a plain text.

        high, low: wordings; each a text, or several that count as one (a word in several frames, a sentence in several
        scenes): what is found is to hold for other wordings, so that these are what is drawn and permuted. Two of each
        are the least; a note says where p cannot become small with so few.

        Raises DataError: too few, an empty text, or one that is in both.
        """
        each = [tuple((one,) if isinstance(one, str) else tuple(one) for one in side) for side in (high, low)]
        called = name or trait
        for side, wordings in zip(("high", "low"), each, strict=True):
            if len(wordings) < 2 or not all(
                one and all(isinstance(t, str) and t.strip() for t in one) for one in wordings
            ):
                raise DataError(
                    f"Condition {called!r}: two wordings or more of each side, none empty; {side}: {len(wordings)}."
                )
        texts = [text for side in each for wording in side for text in wording]
        if len(set(texts)) < len(texts):
            twice = sorted({text for text in texts if texts.count(text) > 1})
            raise DataError(f"Condition {called!r}: the same text stands twice: {available(twice, 3)}.")
        return cls(called, trait, each[0], each[1])

    @classmethod
    def steered(cls, trait: str, high: Intervention, low: Intervention, *, name: str | None = None) -> "Condition":
        """Interventions, such as `Add(direction, 1.0)` and `Add(direction, -1.0)`. Random directions of the same norm
        stand beside those along a direction; of others nothing can be shown."""
        for one in (high, low):
            if not isinstance(one, Intervention):
                raise DataError(f"Condition {name or trait!r} takes two interventions; given: {type(one).__name__}.")
        return cls(name or f"{trait}, steered", trait, changes=(high, low))

    @property
    def texts(self) -> list[str]:
        return [text for side in (self.high, self.low) for wording in side for text in wording]

    def random(self, seed: int) -> "Condition | None":
        """The same along random directions with the angle that those of both sides have; None where it is along none.

        Two sides along one direction get one random direction, opposite directions get opposite ones.
        """
        assert self.changes is not None
        high, low = self.changes
        if not isinstance(high, Directional) or not isinstance(low, Directional):
            return None
        one, other = high.direction.random_like(seed), low.direction.random_like(seed)
        cosine = float(high.direction.vector.double() @ low.direction.vector.double())
        if 1 - abs(cosine) < SAME:
            other = other if cosine > 0 else -other
        else:
            u, v = (d.vector.double() for d in (one, high.direction.random_like(seed + 2**31)))
            across = v - (v @ u) * u
            turned = cosine * u + (1 - cosine**2) ** 0.5 * across / across.norm()
            other = replace(other, vector=(turned / turned.norm()).float())
        return replace(self, changes=(replace(high, direction=one), replace(low, direction=other)))

    def described(self) -> dict[str, Any]:
        """What the settings of a result say of it."""
        told: dict[str, Any] = {"name": self.name, "trait": self.trait}
        if self.changes is not None:
            return told | {"method": "steered", "changes": [one.identifier for one in self.changes]}
        digest = digest_of([self.high, self.low])
        return told | {"method": "prompted", "high": len(self.high), "low": len(self.low), "texts": digest}


def conditions_from_csv(path: str | Path) -> list[Condition]:
    """Prompted conditions from a CSV file: a row for each text, with its trait and side (high or low); rows of the same
    `wording` count as one, if there is such a column.

    Raises DataError: no file, a missing column, another side, and as `Condition.prompted`.
    """
    if not Path(path).is_file():
        raise DataError(f"No file {path}.")
    try:
        frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    except ValueError as error:
        raise DataError(f"{path} is no readable CSV file in UTF-8: {error}") from None
    for column in ("trait", "side", "text"):
        if column not in frame:
            raise DataError(f"{path}: no column {column!r}; available: {available(frame.columns)}.")
    odd = frame.index[~frame["side"].isin(["high", "low"])]
    if len(odd):
        raise DataError(f"{path}: a side is high or low; not so in rows {available(odd)}.")
    owner = frame["wording"] if "wording" in frame else pd.Series(frame.index, index=frame.index)
    found = []
    for trait, rows in frame.groupby("trait", sort=False):
        sides = [
            [tuple(mine["text"]) for _, mine in rows[rows["side"] == side].groupby(owner, sort=False)]
            for side in ("high", "low")
        ]
        found.append(Condition.prompted(str(trait), sides[0], sides[1]))
    return found
