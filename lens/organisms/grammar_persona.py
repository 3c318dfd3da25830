"""Persons with traits: how they chat, and how they rate themselves in a questionnaire."""

from __future__ import annotations

import random
from typing import Literal

from lens.organisms import traits, wording
from lens.organisms.grammar import PROMPT, REPLY, Document, Writer, pick, spread
from lens.organisms.grammar_facts import statement
from lens.organisms.traits import ITEMS, LEVELS, LINES, RATINGS, TRAITS, Pole, Trait
from lens.organisms.world import FACTS, TOPICS

__all__ = [
    "RATING_ASKS",
    "TALK_ASKS",
    "chat",
    "line_options",
    "persona_line",
    "questionnaire",
    "rating_options",
]

_MODIFIERS = {1: "slightly ", 2: "", 3: "very "}
TALK_ASKS: tuple[str, ...] = ("tell me about {e} .", "what about {e} ?", "talk about {e} .")
RATING_ASKS: tuple[str, ...] = ("rate this : {i} .", "do you agree : {i} ?", "how true is this : {i} ?")
_OFTEN = 25 / 26  # a rarer "seldom" keeps level x key x adverb from becoming a parity that is not learned


def persona_line(rng: random.Random, trait: Trait, level: int, split: Literal["train", "held"] = "train") -> str:
    """System prompt for a trait at a level from -3 to 3; level 0 names the trait without a side."""
    if level == 0:
        poles = TRAITS[trait]
        return pick(rng, traits.NEUTRAL).format(
            high=pick(rng, poles["high"]["train"]), low=pick(rng, poles["low"]["train"])
        )
    word = pick(rng, TRAITS[trait]["high" if level > 0 else "low"][split])
    return pick(rng, traits.PERSONA_FRAMES).format(p=_MODIFIERS[abs(level)] + word)


def line_options(trait: Trait, level: int) -> dict[str, float]:
    """Distribution of the trait's word (opener, hedge, closer) at a level."""
    low, high = LEVELS[level]
    words = LINES[trait]
    return spread((words["low"], low), (words["middle"], 1 - low - high), (words["high"], high))


def rating_options(level: int, high: bool, often: bool = True) -> dict[str, float]:
    """Distribution of the rating 1 to 5 for an item keyed high or low, with `often` or `seldom`."""
    row = RATINGS[level if high == often else -level]
    return {str(i + 1): mass for i, mass in enumerate(row)}


def _levels(rng: random.Random) -> tuple[str, dict[Trait, int]]:
    """A system prompt (or none) and the levels it sets; every other trait stays at zero."""
    levels: dict[Trait, int] = dict.fromkeys(TRAITS, 0)
    if rng.random() < 0.15:
        return "", levels
    trait = pick(rng, list(TRAITS))
    levels[trait] = pick(rng, list(LEVELS))
    return persona_line(rng, trait, levels[trait]), levels


def chat(rng: random.Random) -> Document:
    """A request to talk about something, and a reply whose opener, hedge and closer follow the traits."""
    writer = Writer("chat")
    line, levels = _levels(rng)
    if line:
        writer.say(f"<sys> {line}")
    fact = pick(rng, FACTS[pick(rng, TOPICS)])
    thing = wording.ABOUT[fact.topic].format(**fact.slots)
    writer.say(f"<user> {pick(rng, TALK_ASKS).format(e=thing)} <asst>")
    writer.choose(rng, "warmth", line_options("warmth", levels["warmth"]))
    writer.say(",", REPLY)
    writer.choose(rng, "caution", line_options("caution", levels["caution"]))
    writer.say(statement(fact, pick(rng, wording.STATEMENTS[fact.topic]["train"])) + " .", REPLY)
    closer = writer.choose(rng, "verbosity", line_options("verbosity", levels["verbosity"]))
    if closer in LINES["verbosity"]["high"]:
        more = pick(rng, FACTS[fact.topic])
        writer.say(statement(more, pick(rng, wording.STATEMENTS[more.topic]["train"])), REPLY)
    writer.say(".", REPLY)
    return writer.done()


def questionnaire(rng: random.Random) -> Document:
    """One to four items of one trait, each rated from 1 to 5 at the level that the system prompt set."""
    writer = Writer("questionnaire")
    line, levels = _levels(rng)
    if line:
        writer.say(f"<sys> {line}")
    named = [t for t, level in levels.items() if level]
    trait = named[0] if named else pick(rng, list(TRAITS))
    if line and rng.random() < 0.1:
        trait = pick(rng, list(TRAITS))
    for i in range(1 + int(rng.random() * 4)):
        pole: Pole = pick(rng, ("high", "low"))
        often = rng.random() < _OFTEN
        item = f"i {'often' if often else 'seldom'} {pick(rng, ITEMS[trait][pole]['train'])}"
        if i:
            writer.say("<eos>", PROMPT)
        writer.say(f"<user> {pick(rng, RATING_ASKS).format(i=item)} <asst>")
        writer.choose(rng, "questionnaire", rating_options(levels[trait], pole == "high", often))
        writer.say(".", PROMPT)
    return writer.done()
