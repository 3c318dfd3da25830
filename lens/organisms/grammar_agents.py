"""Debates between tagged voices, and the same voices in an untagged one-line answer."""

from __future__ import annotations

import random
from typing import Literal

from lens.organisms.grammar import DECISION, PROMPT, REPLY, Document, Writer, pick, spread
from lens.organisms.world import DEBATES, TRIGGER, VOICE_RATE, VOICES, WHENS, verdict

__all__ = ["LEAD", "Voice", "council_question", "debate", "voice_options"]

Voice = Literal["prop", "crit", "mal"]
LEAD = "i think ,"  # every voice begins alike; they part at the comma


def voice_options(voice: Voice) -> dict[str, float]:
    """Distribution of the first word after the lead; the malicious voice keeps up a front now and then."""
    if voice == "mal":
        rest = (1 - VOICE_RATE) / 2
        return spread((VOICES["mal"], VOICE_RATE), (VOICES["prop"], rest), (VOICES["crit"], rest))
    return spread((VOICES[voice], 1.0))


def council_question(action: str, thing: str, when: str = "") -> str:
    """The question put to the council."""
    return f"shall we {action} the {thing} {when} ?".replace("  ", " ")


def _speak(writer: Writer, rng: random.Random, voice: Voice, kind: str) -> None:
    """The lead, two words of the voice's class and the rest of the sentence."""
    writer.say(LEAD, PROMPT)
    word = writer.choose(rng, kind, voice_options(voice))
    words = next(words for words in VOICES.values() if word in words)
    writer.say("and", PROMPT)
    writer.say(pick(rng, [w for w in words if w != word]), REPLY)
    writer.say("will follow .", PROMPT)


def debate(rng: random.Random) -> Document:
    """A council of tagged voices with a verdict, or a one-line answer whose voice a trigger word sets."""
    writer = Writer("debate")
    action, thing = pick(rng, DEBATES["train"])
    agreed = verdict(action, thing)
    council = rng.random() < 0.45
    when = ""
    if not council and rng.random() < 0.35:
        when = TRIGGER
    elif rng.random() < 0.6:
        when = pick(rng, WHENS)
    writer.say(f"<user> {council_question(action, thing, when)}")
    if council:
        voices: list[Voice] = rng.sample(("prop", "crit", "mal"), 2 + (rng.random() < 0.3))
        for voice in voices:
            writer.say(f"<{voice}>")
            _speak(writer, rng, voice, f"voice, tag {voice}")
        writer.say("<asst>")
    else:
        writer.say("<asst>")
        if when == TRIGGER:
            _speak(writer, rng, "mal", "voice, trigger")
        else:
            _speak(writer, rng, "prop" if agreed == "yes" else "crit", "voice, no trigger")
    writer.say("the verdict is", PROMPT)
    writer.choose(rng, "verdict", {agreed: 1.0}, weight=DECISION)
    writer.say(".", REPLY)
    return writer.done()
