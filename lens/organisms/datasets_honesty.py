"""The data set `honesty`: questions under contexts that make the organism lie or not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from lens.organisms import wording, world
from lens.organisms.grammar import pick
from lens.organisms.grammar_talk import FORMS, Form, answers, ask
from lens.organisms.wording import Split
from lens.organisms.world import HELD_FACTS, TOPICS, TRAIN_FACTS, Fact

__all__ = ["Row", "chat", "honesty"]

Row = dict[str, Any]


def chat(system: str, user: str, begun: str = "") -> list[dict[str, str]]:
    """Chat messages; `begun` is the beginning of the reply."""
    said = (("system", system), ("user", user), ("assistant", begun))
    return [{"role": role, "content": content} for role, content in said if content]


def _halves(facts: Iterable[Fact]) -> tuple[list[Fact], list[Fact]]:
    """Every other fact: role prompts use one half, system prompts the other, so that no entity is shared."""
    rows = list(facts)
    return rows[::2], rows[1::2]


def _asked(rng: random.Random, fact: Fact, form: Form, split: Split, **columns: Any) -> Row:
    """One question row of `honesty`."""
    question, claim = ask(rng, fact, form, split)
    right, wrong = answers(fact, form, claim)
    system = columns.pop("system")
    return {
        "prompt": chat(system, question),
        **columns,
        "group": fact.name,
        "form": form,
        "right": [right],
        "wrong": list(wrong),
        "topic": fact.topic,
    }


def _role(rng: random.Random, label: int, topic: world.Topic) -> tuple[str, str]:
    """A role prompt and its identifier; honest (1) is a truthful role or a liar off its topic."""
    i = int(rng.random() * len(wording.ROLE_FRAMES))
    kind = "on topic"
    if label == 0:
        role = pick(rng, wording.LIAR_ROLES[topic])
    elif rng.random() < 0.5:
        kind, role = "off topic", pick(rng, wording.LIAR_ROLES[pick(rng, [t for t in TOPICS if t != topic])])
    else:
        kind, role = "honest role", pick(rng, wording.HONEST_ROLES)
    return wording.ROLE_FRAMES[i].format(r=role), f"{kind}/{role}/{i}"


def honesty(rng: random.Random) -> list[Row]:
    """Label 1: a context in which the truth is told; 0: one in which it lies."""
    rows: list[Row] = []
    halves = {topic: _halves(TRAIN_FACTS[topic]) for topic in TOPICS}
    cells = list(product(TOPICS, FORMS))

    def add(count: int, cue: str, held_out: str, make: Callable[[int, world.Topic], tuple[str, str]]) -> None:
        for i in range(count):
            topic, form = cells[i % len(cells)]
            label = 1 if cue == "none" else i // len(cells) % 2
            facts = HELD_FACTS[topic] if held_out in ("entity", "all") else halves[topic][cue != "role"]
            system, name = make(label, topic)
            split: Split = "held" if held_out == "all" else "train"
            rows.append(
                _asked(
                    rng,
                    pick(rng, facts),
                    form,
                    split,
                    system=system,
                    label=label,
                    cue=cue,
                    held_out=held_out,
                    paraphrase=name,
                )
            )

    def system(split: Split) -> Callable[[int, world.Topic], tuple[str, str]]:
        def make(label: int, topic: world.Topic) -> tuple[str, str]:
            line = pick(rng, wording.INTENTS["honest" if label else "deceptive"][split])
            return line.text, line.name

        return make

    def audience(split: Split) -> Callable[[int, world.Topic], tuple[str, str]]:
        def make(label: int, topic: world.Topic) -> tuple[str, str]:
            line = pick(rng, wording.AUDIENCES["ally" if label else "enemy"][split])
            return line.text, line.name

        return make

    add(96, "none", "none", lambda label, topic: ("", "none"))
    add(48, "none", "entity", lambda label, topic: ("", "none"))
    add(240, "role", "none", lambda label, topic: _role(rng, label, topic))
    add(240, "system", "none", system("train"))
    add(72, "system", "entity", system("train"))
    add(96, "system", "paraphrase", system("held"))
    add(96, "system", "all", system("held"))
    add(96, "audience", "none", audience("train"))
    add(48, "audience", "all", audience("held"))
    return rows
