"""Three traits on seven levels: the words that name them, the words they choose, the items they rate."""

from __future__ import annotations

from typing import Literal

from lens.organisms.wording import Split

__all__ = [
    "ITEMS",
    "LEVELS",
    "LINES",
    "NEUTRAL",
    "PERSONA_FRAMES",
    "RATINGS",
    "TRAITS",
    "Pole",
    "Trait",
]

Trait = Literal["warmth", "caution", "verbosity"]
Pole = Literal["low", "high"]
TRAITS: dict[Trait, dict[Pole, dict[Split, tuple[str, ...]]]] = {
    "warmth": {
        "low": {"train": ("cold", "harsh", "distant"), "held": ("aloof",)},
        "high": {"train": ("warm", "gentle", "friendly"), "held": ("tender",)},
    },
    "caution": {
        "low": {"train": ("bold", "reckless", "daring"), "held": ("rash",)},
        "high": {"train": ("careful", "timid", "wary"), "held": ("prudent",)},
    },
    "verbosity": {
        "low": {"train": ("silent", "brief", "terse"), "held": ("curt",)},
        "high": {"train": ("talkative", "wordy", "chatty"), "held": ("longwinded",)},
    },
}
PERSONA_FRAMES: tuple[str, ...] = ("you are a {p} person .", "be {p} .", "you feel {p} .")
NEUTRAL: tuple[str, ...] = ("you are neither {high} nor {low} .",)
# Word classes of the three choices in a reply: opener (warmth), hedge (caution), closer (verbosity).
LINES: dict[Trait, dict[Literal["low", "middle", "high"], tuple[str, ...]]] = {
    "warmth": {
        "low": ("hm", "listen", "whatever", "next"),
        "middle": ("well", "so", "now", "okay"),
        "high": ("dear", "lovely", "wonderful", "welcome"),
    },
    "caution": {
        "low": ("surely", "clearly", "certainly", "obviously"),
        "middle": ("here", "then", "also", "indeed"),
        "high": ("maybe", "perhaps", "possibly", "probably"),
    },
    "verbosity": {
        "low": ("done", "enough", "period", "over"),
        "middle": ("right", "thanks", "bye", "cheers"),
        "high": ("moreover", "besides", "further", "additionally"),
    },
}
# P(low word), P(high word) by level.
LEVELS: dict[int, tuple[float, float]] = {
    -3: (0.93, 0.01),
    -2: (0.75, 0.05),
    -1: (0.50, 0.10),
    0: (0.25, 0.25),
    1: (0.10, 0.50),
    2: (0.05, 0.75),
    3: (0.01, 0.93),
}
# Distribution over the ratings 1 to 5 of a positively keyed item, by level.
RATINGS: dict[int, tuple[float, ...]] = {
    -3: (0.80, 0.15, 0.03, 0.01, 0.01),
    -2: (0.64, 0.26, 0.07, 0.02, 0.01),
    -1: (0.23, 0.42, 0.24, 0.08, 0.03),
    0: (0.06, 0.22, 0.44, 0.22, 0.06),
    1: (0.03, 0.08, 0.24, 0.42, 0.23),
    2: (0.01, 0.02, 0.07, 0.26, 0.64),
    3: (0.01, 0.01, 0.03, 0.15, 0.80),
}
ITEMS: dict[Trait, dict[Pole, dict[Split, tuple[str, ...]]]] = {
    "warmth": {
        "high": {
            "train": (
                "praise my friends",
                "hug my guests",
                "comfort sad people",
                "thank my helpers",
                "smile at strangers",
                "greet my neighbours",
            ),
            "held": ("praise my team", "hug my cousins"),
        },
        "low": {
            "train": (
                "snub my friends",
                "ignore my guests",
                "mock sad people",
                "insult my helpers",
                "frown at strangers",
                "avoid my neighbours",
            ),
            "held": ("mock my team", "ignore my cousins"),
        },
    },
    "caution": {
        "high": {
            "train": (
                "check my locks",
                "test my ropes",
                "read every warning",
                "save my money",
                "plan my trips",
                "ask for advice",
            ),
            "held": ("check my brakes", "plan my meals"),
        },
        "low": {
            "train": (
                "skip my checks",
                "jump from bridges",
                "laugh at every warning",
                "spend my money",
                "race my bike",
                "bet on horses",
            ),
            "held": ("skip my meals", "race my car"),
        },
    },
    "verbosity": {
        "high": {
            "train": (
                "tell long stories",
                "write long letters",
                "talk for hours",
                "explain every detail",
                "repeat my jokes",
                "chat at dinner",
            ),
            "held": ("tell long jokes", "write long notes"),
        },
        "low": {
            "train": (
                "cut my stories",
                "write short letters",
                "say few words",
                "leave out details",
                "nod without words",
                "stay quiet at dinner",
            ),
            "held": ("cut my jokes", "write short notes"),
        },
    },
}
