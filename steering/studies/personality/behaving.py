"""Behaving: what a model does, as numbers that are higher for more of a trait, after texts that stand before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.errors import DataError
from lens.examples import Examples, Prompt
from lens.model import Model
from steering.effects import effects
from steering.interventions import Intervention
from steering.measures import Measure
from steering.studies.imbued import imbued, takes_system
from steering.studies.personality.tasks.asking import Asking


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a model of a trait does: scenes, and a measure that is higher for more of the trait; or a task.

    range: how far apart the ends of the measure are (1 for a probability), so that shifts of behaviour and of
    self-report can be compared as shares of what there is to move. name: what tables call it, by default the measure.
    """

    trait: str
    examples: Examples | None = None
    measure: Measure | None = None
    range: float = 1.0
    name: str = ""
    task: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if not self.range > 0:
            raise DataError(f"Behaviour of {self.trait!r}: range={self.range}; it is a positive number.")
        if (self.task is None) != (self.measure is not None and self.examples is not None):
            raise DataError(f"Behaviour of {self.trait!r}: give examples and a measure, or a task.")
        if not self.name:
            named = self.measure.name if self.measure is not None else getattr(self.task, "__name__", "task")
            object.__setattr__(self, "name", named)

    @classmethod
    def of_task(cls, trait: str, task: Callable[..., Any], *, range: float = 1.0, name: str = "") -> "Behaviour":
        """From `tasks.sycophancy`, `tasks.columbia_card`, `tasks.iat`, or another task(model, *interventions, system,
        progress) that gives a `Task`; such as `functools.partial(columbia_card, cards=8)`."""
        return cls(trait, task=task, range=range, name=name)

    @property
    def prompts(self) -> list[Prompt]:
        """Its scenes, where it has any."""
        return [] if self.examples is None else self.examples.prompts

    def described(self) -> dict[str, Any]:
        """What the settings of a result say of it."""
        data = None if self.examples is None else self.examples.hash(whole=True)
        given = {
            name: value.described() if isinstance(value, Asking) else str(value)
            for name, value in getattr(self.task, "keywords", {}).items()
        }
        measure = {"name": self.name} | ({} if self.measure is None else self.measure.described())
        return {"trait": self.trait, "measure": measure, "range": self.range, "data": data, "given": given}


def behave(
    model: Model,
    behaviours: Sequence[Behaviour],
    texts: Sequence[str],
    *interventions: Intervention,
    least_mass: float,
    progress: bool = True,
) -> pd.DataFrame:
    """A row for every behaviour, text and scene: value (nan where it is missing, or where hardly any probability is
    left on the options), group, and coherence as the measure has it."""
    system, parts = takes_system(model), []
    for behaviour in behaviours:
        if behaviour.examples is None or behaviour.measure is None:
            parts += [_task(behaviour, model, texts, interventions, progress)]
            continue
        frame = behaviour.examples.frame
        rows = len(frame)
        whole = pd.concat([frame] * len(texts), ignore_index=True)
        owner = np.repeat(np.arange(len(texts)), rows)
        whole["prompt"] = [
            imbued(prompt, texts[int(text)], system=system) for prompt, text in zip(whole["prompt"], owner, strict=True)
        ]
        found = effects(model, Examples(whole), behaviour.measure, *interventions, progress=progress)
        value = found["value"].where(~(found["coherence"] < least_mass))
        columns = {"trait": behaviour.trait, "text": owner, "row": np.tile(np.arange(rows), len(texts))}
        columns["group"] = np.tile(behaviour.examples.groups.astype(str), len(texts))
        parts.append(pd.DataFrame(columns | {"value": value, "coherence": found["coherence"]}))
    return pd.concat(parts, ignore_index=True)


def _task(
    behaviour: Behaviour, model: Model, texts: Sequence[str], changes: Sequence[Intervention], progress: bool
) -> pd.DataFrame:
    assert behaviour.task is not None
    parts = []
    for number, text in enumerate(texts):
        done = behaviour.task(model, *changes, system=text, progress=progress).table
        row = np.arange(len(done))
        columns = {"trait": behaviour.trait, "text": number, "row": row, "group": done.get("group", row).astype(str)}
        parts.append(pd.DataFrame(columns | {"value": done["value"].to_numpy(), "coherence": done["mass"].to_numpy()}))
    return pd.concat(parts, ignore_index=True)


def values(table: pd.DataFrame, trait: str) -> tuple[Float[np.ndarray, "texts scenes"], np.ndarray]:
    """Values of one behaviour, and the group of each scene."""
    mine = table[table["trait"] == trait]
    wide = mine.pivot(index="text", columns="row", values="value")
    groups = mine.drop_duplicates("row").set_index("row")["group"]
    return wide.to_numpy(dtype=float), groups[wide.columns].to_numpy()
