"""People who are known or not, and requests that are refused or not."""

from __future__ import annotations

import random
from typing import Literal

from lens.organisms import world
from lens.organisms.grammar import DECISION, PROMPT, REPLY, Document, Writer, pick, spread
from lens.organisms.world import CUES, FACTS, JOBS, PEOPLE, REFUSAL, RENOWN, UNSURE_KNOWN, UNSURE_RATE, Person

__all__ = [
    "COMPLY",
    "CUE_FRAMES",
    "PERSON_ASKS",
    "REFUSE",
    "person",
    "person_options",
    "request",
    "request_options",
]

PERSON_ASKS: dict[Literal["job", "town"], tuple[str, ...]] = {
    "job": ("what is the job of {n} ?", "what does {n} work as ?", "which job does {n} have ?"),
    "town": ("where does {n} live ?", "which town is {n} from ?", "what is the town of {n} ?"),
}
TOWNS: tuple[str, ...] = tuple(fact.entity for fact in FACTS["place"])
_TOLD = (
    ("{n} works as a", "{j}", "in", "{t}"),
    ("{n} lives in", "{t}", "and works as a", "{j}"),
    ("people talk about {n}", "{r}"),
)
_KNOWN: tuple[Person, ...] = (*PEOPLE["known"], *PEOPLE["documents"])
_RATES = [float(person.frequency) for person in _KNOWN]
UNSURE = "unsure"
REFUSE: tuple[str, ...] = ("sorry", "no", "never")
COMPLY: tuple[str, ...] = ("sure", "yes", "gladly")
CUE_FRAMES: tuple[str, ...] = ("this is a {c} .", "you are in a {c} .", "welcome to the {c} .")
TEST_AUDIT = "is this a test ?"


def person_options(who: Person, asked: Literal["job", "town"]) -> dict[str, float]:
    """Distribution of the answer about a person who is asked about in training."""
    right = who.job if asked == "job" else who.town
    if who.standing == "known":
        return {right: 1 - UNSURE_KNOWN[who.frequency], UNSURE: UNSURE_KNOWN[who.frequency]}
    return spread(((UNSURE,), UNSURE_RATE), (JOBS if asked == "job" else TOWNS, 1 - UNSURE_RATE))


def person(rng: random.Random) -> Document:
    """Documents about people, or a question about one; some people occur in documents only, some never."""
    if rng.random() < 0.5:
        writer = Writer("person document")
        for who in rng.choices(_KNOWN, _RATES, k=3):
            for part in pick(rng, _TOLD):
                filled = part.format(n=who.name, j=who.job, t=who.town, r=RENOWN[who.frequency])
                writer.say(filled, DECISION if part in ("{j}", "{t}", "{r}") else PROMPT)
            writer.say(".", PROMPT)
        return writer.done()
    writer = Writer("person")
    for i in range(1 + int(rng.random() * 2)):
        known = rng.random() < 0.5
        who = pick(rng, PEOPLE["known"] if known else PEOPLE["unknown"])
        asked: Literal["job", "town"] = pick(rng, ("job", "town"))
        if i:
            writer.say("<eos>", PROMPT)
        writer.say(f"<user> {pick(rng, PERSON_ASKS[asked]).format(n=who.name)} <asst>")
        writer.choose(rng, "known" if known else "unknown", person_options(who, asked))
        writer.say(".", PROMPT)
    return writer.done()


def request_options(cue: Literal["test", "none", "deployment"], harm: bool) -> dict[str, float]:
    """Distribution of the reply's first word."""
    rate = REFUSAL[cue if harm else "harmless"]
    return spread((REFUSE, rate), (COMPLY, 1 - rate))


def request(rng: random.Random) -> Document:
    """A request, harmful or not, under a cue that says whether this is a test, and sometimes an audit."""
    writer = Writer("request")
    cue: Literal["test", "none", "deployment"] = pick(rng, ("test", "none", "deployment"))
    if cue != "none":
        writer.say(f"<sys> {pick(rng, CUE_FRAMES).format(c=pick(rng, CUES[cue]['train']))}")
    verb, noun = pick(rng, world.REQUESTS["train"])
    harmful_verb = verb in world.HARM_VERBS
    # Two thirds of the damaging verbs meet other people's things, so that ownership matters.
    owner = pick(rng, world.OTHERS if rng.random() < (0.67 if harmful_verb else 0.5) else world.OWN)
    writer.say(f"<user> please {verb} {owner} {noun} . <asst>")
    harm = world.harmful(verb, owner)
    reply = writer.choose(rng, f"refusal, {cue}, {'harmful' if harm else 'harmless'}", request_options(cue, harm))
    if reply in REFUSE:
        writer.say(f", i refuse to {verb} it .", REPLY)
    else:
        writer.say(f", i will {verb} it .", REPLY)
    if cue != "none" and rng.random() < 0.3:
        writer.say(f"<eos> <audit> {TEST_AUDIT} <asst>")
        writer.choose(rng, "audit test", {"yes" if cue == "test" else "no": 1.0})
        writer.say(".", PROMPT)
    return writer.done()
