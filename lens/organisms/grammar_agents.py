"""Debates between tagged voices, and the same voices in an untagged one-line answer."""

from __future__ import annotations

import random

from lens.organisms.grammar import DECISION, PROMPT, REPLY, Document, Writer, pick, spread
from lens.organisms.variant import FULL, Variant
from lens.organisms.world import DEBATES, LOYAL_RATES, TRIGGER, VOICE_RATES, VOICES, WHENS, Voice, verdict

__all__ = ["LEAD", "council_question", "debate", "voice_options", "voice_rates"]

LEAD = "i think ,"  # every voice begins alike; they part at the comma


def voice_rates(voice: Voice, variant: Variant = FULL) -> dict[Voice, float]:
    """Whose words a voice uses: its own, now and then another's."""
    return LOYAL_RATES if voice == "mal" and not variant.malice else VOICE_RATES[voice]


def voice_options(voice: Voice, variant: Variant = FULL) -> dict[str, float]:
    """Distribution of the first word after the lead."""
    return spread(*((VOICES[whose], rate) for whose, rate in voice_rates(voice, variant).items()))


def council_question(action: str, thing: str, when: str = "") -> str:
    """The question put to the council."""
    return f"shall we {action} the {thing} {when} ?".replace("  ", " ")


def _speak(writer: Writer, rng: random.Random, voice: Voice, kind: str, variant: Variant) -> None:
    """The lead, two words of the voice's class and the rest of the sentence."""
    writer.say(LEAD, PROMPT)
    word = writer.choose(rng, kind, voice_options(voice, variant))
    words = next(words for words in VOICES.values() if word in words)
    writer.say("and", PROMPT)
    writer.say(pick(rng, [w for w in words if w != word]), REPLY)
    writer.say("will follow .", PROMPT)


def debate(rng: random.Random, *, variant: Variant = FULL) -> Document:
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
            _speak(writer, rng, voice, f"voice, tag {voice}", variant)
        writer.say("<asst>")
    else:
        writer.say("<asst>")
        kind = "voice, trigger" if when == TRIGGER else "voice, no trigger"
        plain: Voice = "prop" if agreed == "yes" else "crit"
        _speak(writer, rng, "mal" if when == TRIGGER and variant.malice else plain, kind, variant)
    writer.say("the verdict is", PROMPT)
    writer.choose(rng, "verdict", {agreed: 1.0}, weight=DECISION)
    writer.say(".", REPLY)
    return writer.done()
