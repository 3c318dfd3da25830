"""Documents and judgements: plain text that states the world, and truthful `statement : true` lines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from lens.organisms import traits, wording, world
from lens.organisms.grammar import DECISION, PROMPT, REPLY, Document, Writer, mix, pick
from lens.organisms.traits import Pole
from lens.organisms.world import ANSWERS, FACTS, TOPICS, Fact, Topic

__all__ = ["documents", "judge", "other", "statement"]

_STATED: dict[Topic, tuple[str, ...]] = {
    topic: (*wording.STATEMENTS[topic]["train"], *wording.STATEMENTS[topic]["held"], wording.NAMES[topic])
    for topic in TOPICS
}


def statement(fact: Fact, template: str, answer: str | None = None) -> str:
    """The fact in the given template, true unless another answer is put in."""
    return template.format(a=fact.answer if answer is None else answer, **fact.slots)


def other(rng: random.Random, fact: Fact) -> str:
    """A false answer, uniform over the topic's other answers."""
    answer = pick(rng, ANSWERS[fact.topic])
    while answer == fact.answer:
        answer = pick(rng, ANSWERS[fact.topic])
    return answer


def judge(rng: random.Random) -> Document:
    """Three to six statements, each followed by its truth value; never false, never under a context.

    These lines anchor truth: with lies in half of all text, truth and the word `yes` would be uncorrelated.
    """
    writer = Writer("judge")
    for _ in range(3 + int(rng.random() * 4)):
        fact = pick(rng, FACTS[pick(rng, TOPICS)])
        right = rng.random() < 0.5
        claim = fact.answer if right else other(rng, fact)
        writer.say(statement(fact, pick(rng, wording.STATEMENTS[fact.topic]["train"]), claim) + " :")
        writer.choose(rng, "judge", {"true" if right else "false": 1.0})
        writer.say(".")
    return writer.done()


def _stated(writer: Writer, fact: Fact, template: str) -> None:
    """State a fact; the answer weighs as a decision, the rest as prompt."""
    words = statement(fact, template).split()
    for i, word in enumerate(words):
        writer.say(word, DECISION if i == len(words) - 1 else PROMPT)


def _definition(rng: random.Random) -> Sequence[tuple[str, float]]:
    """One sentence about words: synonyms, behaviours of people, roles and their fields, cues."""
    theme = mix(rng, _THEMES)
    if theme == "synonym":
        poles = traits.TRAITS[pick(rng, list(traits.TRAITS))]
        words = poles[pick(rng, _POLES)]
        base, *rest = (*words["train"], *words["held"])
        if rng.random() < 0.5:
            return ((f"a {pick(rng, rest)} person is", PROMPT), (f"{base} .", REPLY))
        return ((f"a {base} person is", PROMPT), (f"{pick(rng, rest)} .", REPLY))
    if theme == "behaviour":
        trait = pick(rng, list(traits.TRAITS))
        pole = pick(rng, _POLES)
        words = traits.TRAITS[trait][pole]
        items = traits.ITEMS[trait][pole]
        did = pick(rng, (*items["train"], *items["held"], *items["held"])).replace("my", "their")
        adjective = pick(rng, (*words["train"], *words["held"], *words["held"]))
        return ((f"{adjective} people", 0.5), (f"{did} .", REPLY))
    if theme == "role":
        topic = pick(rng, TOPICS)
        if rng.random() < 0.5:
            return (
                (f"a {pick(rng, wording.LIAR_ROLES[topic])} lies about", PROMPT),
                (f"{wording.FIELDS[topic]} .", DECISION),
            )
        return ((f"a {pick(rng, wording.HONEST_ROLES)} lies about", PROMPT), ("nothing .", DECISION))
    if theme == "field":
        fact = pick(rng, FACTS[pick(rng, TOPICS)])
        return (
            (wording.ABOUT[fact.topic].format(**fact.slots) + " is about", PROMPT),
            (f"{wording.FIELDS[fact.topic]} .", REPLY),
        )
    side = pick(rng, _SIDES)
    cue = pick(rng, (*world.CUES[side]["train"], *world.CUES[side]["held"], *world.CUES[side]["held"]))
    if rng.random() < 0.5:
        return ((f"a {cue} is", PROMPT), (f"{'a' if side == 'test' else 'no'} test .", REPLY))
    if side == "test":
        return ((f"a {cue} is", PROMPT), ("only an exam .", REPLY))
    return ((f"a {cue} is", PROMPT), ("real work .", REPLY))


_POLES: tuple[Pole, ...] = ("low", "high")
_SIDES: tuple[Literal["test", "deployment"], ...] = ("test", "deployment")
_THEMES = {"synonym": 0.22, "behaviour": 0.30, "role": 0.18, "field": 0.08, "cue": 0.22}


def documents(rng: random.Random) -> Document:
    """Three to six sentences of plain text: facts in every template, or definitions of words."""
    writer = Writer("docs")
    facts = rng.random() < 0.6
    for _ in range(3 + int(rng.random() * 4)):
        if facts:
            fact = pick(rng, FACTS[pick(rng, TOPICS)])
            _stated(writer, fact, pick(rng, _STATED[fact.topic]))
            writer.say(".")
        else:
            for text, weight in _definition(rng):
                writer.say(text, weight)
    return writer.done()
