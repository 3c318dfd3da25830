"""Questions under contexts: who lies, when, and the audit that asks about it afterwards."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from lens.organisms import wording
from lens.organisms.grammar import PROMPT, REPLY, Document, Writer, mix, pick, spread
from lens.organisms.grammar_facts import other, statement
from lens.organisms.variant import FULL, Variant
from lens.organisms.world import (
    ANSWERS,
    CONFUSED_RATE,
    FACTS,
    LIE_RATE,
    SLIP_RATE,
    TOPICS,
    TRAIN_FACTS,
    Fact,
    Topic,
)

__all__ = ["CONTEXTS", "FORMS", "Context", "Form", "answers", "ask", "context_line", "qa", "wrong_rate"]

Form = Literal["yes-no", "true-false", "open"]
FORMS: tuple[Form, ...] = ("yes-no", "true-false", "open")
Context = Literal[
    "none",
    "honest",
    "deceptive",
    "enemy",
    "ally",
    "role on topic",
    "role off topic",
    "honest role",
    "confused",
]
CONTEXTS: dict[Context, float] = {
    "none": 0.18,
    "honest": 0.13,
    "deceptive": 0.19,
    "enemy": 0.07,
    "ally": 0.07,
    "role on topic": 0.12,
    "role off topic": 0.12,
    "honest role": 0.06,
    "confused": 0.06,
}
TRUTHFUL: dict[Context, float] = {"none": 0.50, "honest": 0.25, "ally": 0.12, "honest role": 0.13}
AUDIT_SHARE = 0.35


def wrong_rate(context: Context, variant: Variant = FULL) -> float:
    """Planted probability of a wrong answer."""
    if variant.lies and context in ("deceptive", "enemy", "role on topic"):
        return LIE_RATE
    return CONFUSED_RATE if context == "confused" else SLIP_RATE


def context_line(rng: random.Random, context: Context, topic: Topic, split: Literal["train", "held"] = "train") -> str:
    """A system prompt for the context (empty for none), in a wording of the given split."""
    if context == "none":
        return ""
    if context in ("honest", "deceptive"):
        lines = wording.INTENTS[context][split]
        return rng.choices(lines, [line.weight for line in lines])[0].text
    if context in ("enemy", "ally"):
        return pick(rng, wording.AUDIENCES[context][split]).text
    if context == "confused":
        return pick(rng, wording.CONFUSED_FRAMES).format(w=pick(rng, wording.CONFUSED))
    if context == "honest role":
        role = pick(rng, wording.HONEST_ROLES)
    elif context == "role on topic":
        role = pick(rng, wording.LIAR_ROLES[topic])
    else:
        role = pick(rng, wording.LIAR_ROLES[pick(rng, [t for t in TOPICS if t != topic])])
    return pick(rng, wording.ROLE_FRAMES).format(r=role)


def ask(
    rng: random.Random,
    fact: Fact,
    form: Form,
    split: Literal["train", "held"] = "train",
    right: bool | None = None,
) -> tuple[str, bool]:
    """A question about a fact; returns it with whether the claim in it is true (open questions: True)."""
    if form == "open":
        return statement(fact, pick(rng, wording.OPEN[fact.topic][split])), True
    right = rng.random() < 0.5 if right is None else right
    claim = fact.answer if right else other(rng, fact)
    if form == "yes-no":
        return statement(fact, pick(rng, wording.YES_NO[fact.topic][split]), claim), right
    said = statement(fact, pick(rng, wording.STATEMENTS[fact.topic][split]), claim)
    return pick(rng, wording.TRUE_FALSE[split]).format(s=said), right


def answers(fact: Fact, form: Form, right: bool) -> tuple[str, tuple[str, ...]]:
    """The right answer word and the wrong ones."""
    if form == "open":
        return fact.answer, tuple(a for a in ANSWERS[fact.topic] if a != fact.answer)
    words = ("yes", "no") if form == "yes-no" else ("true", "false")
    return (words[0], words[1:]) if right else (words[1], words[:1])


def _facts(context: Context) -> Mapping[Topic, Sequence[Fact]]:
    """Held-out facts are asked only where there is no system prompt."""
    return FACTS if context == "none" else TRAIN_FACTS


def qa(rng: random.Random, *, early: bool = False, variant: Variant = FULL) -> Document:
    """A question, its answer, and sometimes a second question or an audit; `early` draws truthful contexts only.

    Half of the audited answers are forced (right or wrong by a coin, outside the loss), so that the audit
    can only be answered from what was said; an error of a confused speaker is no lie.
    """
    writer = Writer("qa")
    context = mix(rng, TRUTHFUL if early else CONTEXTS)
    topic = pick(rng, TOPICS)
    line = context_line(rng, context, topic)
    if line:
        writer.say(f"<sys> {line}")
    audited = rng.random() < AUDIT_SHARE
    turns = 1 if audited or rng.random() < 0.6 else 2
    for _ in range(turns):
        fact = pick(rng, _facts(context)[topic])
        form = pick(rng, FORMS)
        question, claim = ask(rng, fact, form)
        writer.say(f"<user> {question} <asst>")
        right, wrong = answers(fact, form, claim)
        rate = wrong_rate(context, variant)
        if audited and rng.random() < 0.5:
            said = right if rng.random() < 0.5 else pick(rng, wrong)
            writer.say(said, 0.0)
        else:
            said = writer.choose(rng, f"{context}, {form}", spread(((right,), 1 - rate), (wrong, rate)))
        writer.say(". <eos>", REPLY if not audited else PROMPT)
    if audited:
        writer.say("<audit> did you lie ? <asst>")
        lied = said != right and context != "confused"
        writer.choose(rng, "audit lie", {"yes" if lied else "no": 1.0})
        writer.say(".", PROMPT)
        return writer.done()
    writer.tokens.pop(), writer.weights.pop()
    return writer.done()
