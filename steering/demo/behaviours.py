"""The behaviours of the embedded organism that the demo tells of, and which rows tell it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lens.examples import Examples
from steering import measures
from steering.measures import Measure

Where = dict[str, Any]


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of the organism: which rows fit it, test it, and are steered; and what is measured.

    train: rows the probe is fitted on. tests: rows it is tested on, by what they hold out. contexts: rows the
    direction that steers is fitted on. neutral: rows that are steered. instructed: rows whose prompt asks for what
    the measure counts (the prompt-only baseline, and what ablation has to remove).
    """

    name: str
    classes: tuple[str, str]
    train: Where
    tests: dict[str, Where]
    contexts: Where
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
    contexts={"cue": ["role", "system"], "held_out": "none"},
    neutral={"cue": "none"},
    instructed={"cue": "system", "held_out": "none", "label": 0},
    measure=measures.option("{wrong}", "{right}", name="P(lie)"),
)
WARMTH = Behaviour(
    name="warmth",
    classes=("cold", "warm"),
    train={"level": [-3, -2, -1, 1, 2, 3], "held_out": "none"},
    tests={"held-out synonyms": {"held_out": "synonym"}},
    contexts={"level": [-3, -2, -1, 1, 2, 3], "held_out": "none"},
    neutral={"persona": "none"},
    instructed={"level": 3, "held_out": "none"},
    measure=measures.option("{high}", ["{low}", "{middle}"], name="P(warm opener)"),
)


@dataclass(frozen=True)
class Parts:
    """Training, validation and test rows of one behaviour; they share no group."""

    train: Examples
    validation: Examples
    test: Examples
    all: Examples

    @classmethod
    def of(cls, examples: Examples, *, seed: int) -> "Parts":
        """Split by groups: about 42 % train, 23 % validation, 35 % test."""
        rest, test = examples.split(test=0.35, by="group", seed=seed)
        train, validation = rest.split(test=0.35, by="group", seed=seed)
        return cls(train, validation, test, examples)

    def tests(self, behaviour: Behaviour) -> dict[str, Examples]:
        """The rows of each test that share no group with training, and the training rows' own kind in test groups."""
        known = set(self.train.groups)
        sets = {}
        for name, where in behaviour.tests.items():
            rows = self.all.where(**where)
            sets[name] = rows.select(np.array([group not in known for group in rows.groups]))
        return sets | {"same kind of prompt, held-out groups": self.test.where(**behaviour.train)}
