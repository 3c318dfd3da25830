"""The words of the in-context organism: eight attributes, each a set of classes of words, and what is held out.

A sentence is made of slots (somebody, what they do, where, how, with what, when). Every attribute is a property of
the word in one slot, so that each sentence carries several attributes at once, and only the labels of an episode can
say which of them is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lens.organisms.world import ANIMALS, CITIES, DIGITS

__all__ = ["ATTRIBUTES", "HELD_ATTRIBUTE", "SLOTS", "SYMBOLS", "TAGS", "TAILS", "Attribute", "Split", "vocabulary"]

Split = Literal["train", "held", "all"]

# Two of them are an episode's labels, drawn anew, so that a label means nothing outside of its episode.
SYMBOLS: tuple[str, ...] = DIGITS


@dataclass(frozen=True)
class Attribute:
    """An attribute: the slot it is a property of, and its classes with the words trained on and those held out.

    A held-out word occurs in definitions ("the heron is a bird") and in no episode.
    """

    name: str
    slot: str
    train: dict[str, tuple[str, ...]]
    held: dict[str, tuple[str, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; each is a word."""
        return tuple(self.train)

    def words(self, split: Split) -> dict[str, tuple[str, ...]]:
        """The words by class."""
        if split == "all":
            return {name: self.train[name] + self.held[name] for name in self.train}
        return self.train if split == "train" else self.held


def _split(name: str, slot: str, table: dict[str, str], held: int) -> Attribute:
    """The last `held` words of every class are held out."""
    words = {label: tuple(text.split()) for label, text in table.items()}
    return Attribute(
        name,
        slot,
        {label: row[: len(row) - held] for label, row in words.items()},
        {label: row[len(row) - held :] for label, row in words.items()},
    )


_FEELINGS = {
    "happy": "gladly merrily cheerfully proudly warmly kindly sweetly fondly joyfully brightly",
    "unhappy": "sadly bitterly angrily coldly grimly gloomily sourly harshly cruelly darkly",
}
_PERSONS = {
    "woman": "ana dora fay hana jane lena nora rosa tina uma vera zoe",
    "man": "ben carl emil gus ivan karl max otto paul sam walt john",
}
_TOOLS = {
    "tool": "hammer saw drill chisel axe shovel rake spade pliers wrench",
    "food": "bread cheese soup cake honey butter rice pasta jam stew",
    "garment": "coat scarf hat glove shirt sock shoe belt cloak vest",
    "vessel": "boat ship canoe raft ferry kayak yacht barge dinghy sloop",
}
_TIMES = {
    "day": "morning noon sunrise dawn breakfast lunchtime midday daybreak",
    "night": "midnight dusk sunset nightfall moonrise supper bedtime twilight",
}
_PAST = "sang slept ran swam ate spoke wept drove wrote fell stood knelt grew shook"
_PRESENT = "sings sleeps runs swims eats speaks weeps drives writes falls stands kneels grows shakes"
_SIZES = {
    "large": "huge vast giant massive mighty enormous big bulky",
    "small": "tiny little wee minute puny petite mini slight",
}

ATTRIBUTES: dict[str, Attribute] = {
    one.name: one
    for one in (
        _split("place", "where", CITIES, 1),
        _split("kind", "animal", ANIMALS, 2),
        _split("sex", "person", _PERSONS, 2),
        _split("tense", "verb", {"past": _PAST, "present": _PRESENT}, 2),
        _split("feeling", "how", _FEELINGS, 2),
        _split("sort", "thing", _TOOLS, 2),
        _split("time", "when", _TIMES, 2),
        _split("size", "size", _SIZES, 0),
    )
}
# Its words occur in definitions and as one more property of animals, and no episode in training is about them.
HELD_ATTRIBUTE = "size"

SLOTS: dict[str, Attribute] = {one.slot: one for one in ATTRIBUTES.values()}
# What stands around a sentence's subject and verb, with the words that lead it in.
TAILS: dict[str, tuple[str, ...]] = {"where": ("in",), "how": (), "thing": ("with", "the"), "when": ("at",)}
TAGS: tuple[str, ...] = ("<ex>", "<score>", "<want>")


def vocabulary() -> tuple[str, ...]:
    """Every word, sorted: specials and tags are not among them."""
    found = {"the", "is", ".", *SYMBOLS}
    for lead in TAILS.values():
        found.update(lead)
    for one in ATTRIBUTES.values():
        for label, row in one.words("all").items():
            found.update((label, *row))
    return tuple(sorted(found))
