"""Episodes: sentences with labels that mean nothing outside, and requests to make a sentence for a label.

    <bos> <ex> the fox sang in lima <score> 4 <ex> in oslo ana swam gladly <score> 7 … <ex> … <score>
    <bos> <ex> the fox sang in lima <score> 4 … <want> 7 in bergen the carp sleeps

Two classes of one attribute are drawn for an episode, and two digits to stand for them. After `<score>` comes the
label of the sentence (reporting); after `<want>` and a label comes a sentence with a word of that class (control).
Every other word is drawn without regard to the labels. Both tasks follow "Language models are capable of metacognitive
monitoring and control of their internal activations" (arXiv 2505.13763, 2025), with labels that are planted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lens.organisms.grammar import DECISION, Decision, Document, Writer, pick
from lens.organisms.incontext.lexicon import ATTRIBUTES, HELD_ATTRIBUTE, SLOTS, SYMBOLS, TAILS, Split

__all__ = [
    "TRAINED",
    "Episode",
    "Form",
    "Shot",
    "bag",
    "control_text",
    "definitions",
    "episode",
    "report_text",
    "sentence",
]

TRAINED = tuple(name for name in ATTRIBUTES if name != HELD_ATTRIBUTE)
AROUND, FIRST = 0.05, 0.1
# The longest shot; an episode takes another while it fits.
_LONGEST = 16


@dataclass(frozen=True)
class Form:
    """How an episode is made.

    words: 0 for whole sentences, else so many words of as many attributes. symbols: how many digits labels are drawn
    from. repeat: P(every class is one word throughout). control: P(a shot asks for a sentence). told: P(the labels are
    the classes' own names, all of them, with the words that are held out too). tokens: the most that fit.
    """

    shots: int
    words: int = 0
    symbols: int = len(SYMBOLS)
    repeat: float = 0.0
    control: float = 0.0
    told: float = 0.0
    tokens: int = 128


@dataclass(frozen=True)
class Shot:
    """One labelled sentence: what is asked, the place of the token that decides, and the class (0 or 1) that it has."""

    task: Literal["report", "control"]
    index: int
    side: int
    sentence: tuple[str, ...]


@dataclass(frozen=True)
class Episode:
    """A document with what it is about: the attribute, the classes and the labels that stand for them."""

    attribute: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    shots: tuple[Shot, ...]
    document: Document


def _word(rng: random.Random, slot: str, split: Split) -> str:
    """Any word for a slot."""
    classes = SLOTS[slot].words(split)
    return pick(rng, classes[pick(rng, tuple(classes))])


def sentence(rng: random.Random, slot: str, word: str, around: Split = "train") -> tuple[list[str], int]:
    """A sentence with `word` in a slot and other words, drawn from the split `around`, in others; and its place."""
    animal = slot in ("animal", "size") or (slot != "person" and rng.random() < 0.5)
    tails = [name for name in TAILS if name != slot]
    rng.shuffle(tails)
    tails = tails[: 1 + int(rng.random() * 2)]
    if slot in TAILS:
        tails[-1] = slot
        rng.shuffle(tails)
    parts = [tails.pop(0)] if rng.random() < 0.3 else []
    parts += (["size"] if slot == "size" else []) + ["animal" if animal else "person", "verb", *tails]
    tokens: list[str] = []
    at = -1
    for part in parts:
        if part == "size" or (part == "animal" and slot != "size"):
            tokens.append("the")
        tokens += TAILS.get(part, ())
        if part == slot:
            at = len(tokens)
        tokens.append(word if part == slot else _word(rng, part, around))
    return tokens, at


def bag(rng: random.Random, slot: str, word: str, words: int, around: Split = "train") -> tuple[list[str], int]:
    """`words` words of as many slots in any order, one of them `word`; and its place."""
    others = [ATTRIBUTES[name].slot for name in TRAINED if ATTRIBUTES[name].slot != slot]
    rng.shuffle(others)
    slots = [slot, *others[: words - 1]]
    rng.shuffle(slots)
    return [word if name == slot else _word(rng, name, around) for name in slots], slots.index(slot)


def episode(rng: random.Random, form: Form, *, attribute: str = "", split: Split = "train") -> Episode:
    """An episode about an attribute (default: any that is trained on), its deciding words from the split."""
    told = rng.random() < form.told
    name = attribute or pick(rng, tuple(ATTRIBUTES) if told else TRAINED)
    one = ATTRIBUTES[name]
    split = "all" if told else split
    around: Split = "all" if told else "train"
    classes = one.classes if told else tuple(rng.sample(one.classes, 2))
    labels = classes if told else tuple(rng.sample(SYMBOLS[: form.symbols], 2))
    words = one.words(split)
    if rng.random() < form.repeat:
        words = {label: (pick(rng, row),) for label, row in words.items()}
    writer, shots, seen = Writer("episode"), list[Shot](), [0] * len(classes)
    while len(shots) < form.shots and len(writer.tokens) + _LONGEST <= form.tokens:
        side = int(rng.random() * len(classes))
        word = pick(rng, words[classes[side]])
        if form.words:
            said, at = bag(rng, one.slot, word, form.words, around)
        else:
            said, at = sentence(rng, one.slot, word, around)
        if len(shots) > 1 and rng.random() < form.control:
            writer.say("<want>", 0.0).say(labels[side], 0.0)
            at += len(writer.tokens)
            shots.append(Shot("control", at, side, tuple(said)))
            for token in said:
                decides = len(writer.tokens) == at
                writer.say(token, DECISION if decides and seen[side] else AROUND)
        else:
            writer.say("<ex>", AROUND).say(" ".join(said), AROUND).say("<score>", 0.0)
            shots.append(Shot("report", len(writer.tokens), side, tuple(said)))
            writer.say(labels[side], DECISION if shots[1:] else FIRST)
        seen[side] += 1
    return Episode(name, classes, labels, tuple(shots), writer.done())


def definitions(rng: random.Random) -> Document:
    """What words mean, those held out too: four to eight lines `heron is bird .`."""
    writer = Writer("definitions")
    for _ in range(4 + int(rng.random() * 5)):
        one = ATTRIBUTES[pick(rng, tuple(ATTRIBUTES))]
        label = pick(rng, one.classes)
        writer.say(pick(rng, one.words("all")[label]), AROUND).say("is", AROUND)
        writer.decisions.append(Decision(len(writer.tokens), "class", {label: 1.0}))
        writer.say(label, DECISION).say(".", AROUND)
    return writer.done()


def report_text(shots: Sequence[tuple[str, str]], asked: str) -> str:
    """The text whose next word is the label of a sentence, after sentences with labels; the tokenizer adds `<bos>`."""
    return " ".join([*_shown(shots), f"<ex> {asked} <score>"])


def control_text(shots: Sequence[tuple[str, str]], label: str) -> str:
    """The text after which a sentence for the label is to be said."""
    return " ".join([*_shown(shots), f"<want> {label}"])


def _shown(shots: Sequence[tuple[str, str]]) -> list[str]:
    return [f"<ex> {said} <score> {label}" for said, label in shots]
