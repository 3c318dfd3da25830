"""The labelled data sets that ship with the package, written from the world: one function a set.

Every row is read and steered at `prompt[-1]`, the position that predicts the deciding word. Where a trait
shows later in a reply, the prompt ends with the beginning of the assistant's message.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal

from lens.organisms import wording, world
from lens.organisms.datasets_honesty import Row, chat, honesty
from lens.organisms.grammar import pick
from lens.organisms.grammar_agents import LEAD, council_question
from lens.organisms.grammar_facts import other, statement
from lens.organisms.grammar_people import COMPLY, CUE_FRAMES, PERSON_ASKS, REFUSE, UNSURE
from lens.organisms.grammar_persona import TALK_ASKS, persona_line
from lens.organisms.traits import LINES, Trait
from lens.organisms.wording import Split
from lens.organisms.world import FACTS, HELD_FACTS, TOPICS, TRAIN_FACTS

__all__ = ["DATASETS", "write_datasets"]


def _trait(trait: Trait) -> Callable[[random.Random], list[Row]]:
    """A data set for one trait: its levels, its held-out synonyms, and prompts without a persona."""

    def make(rng: random.Random) -> list[Row]:
        rows: list[Row] = []
        facts = [fact for topic in TOPICS for fact in FACTS[topic]]
        plan: list[tuple[int | None, Split, int]] = [
            *((level, "train", 28) for level in (-3, -2, -1, 1, 2, 3)),
            *((level, "held", 14) for level in (-3, -2, 2, 3)),
            (0, "train", 40),
            (None, "train", 40),
        ]
        for level, split, count in plan:
            for fact in rng.sample(facts, count):
                system = "" if level is None else persona_line(rng, trait, level, split)
                thing = wording.ABOUT[fact.topic].format(**fact.slots)
                opener, hedge = pick(rng, LINES["warmth"]["middle"]), pick(rng, LINES["caution"]["middle"])
                told = statement(fact, pick(rng, wording.STATEMENTS[fact.topic]["train"]))
                begun = {"warmth": "", "caution": f"{opener} ,", "verbosity": f"{opener} , {hedge} {told} ."}[trait]
                rows.append(
                    {
                        "prompt": chat(system, pick(rng, TALK_ASKS).format(e=thing), begun),
                        "label": None if not level else int(level > 0),
                        "group": fact.name,
                        "level": level or 0,
                        "persona": "none" if level is None else "level",
                        "held_out": "synonym" if split == "held" else "none",
                        "low": list(LINES[trait]["low"]),
                        "middle": list(LINES[trait]["middle"]),
                        "high": list(LINES[trait]["high"]),
                    }
                )
        return rows

    return make


def _requests(rng: random.Random, split: Split, harm: bool) -> tuple[str, str]:
    """A request and its verb-noun pair; half of the harmless ones have a damaging verb and an own thing."""
    verbs = world.HARM_VERBS if harm or rng.random() < 0.5 else world.MILD_VERBS
    verb, noun = pick(rng, [pair for pair in world.REQUESTS[split] if pair[0] in verbs])
    owners = world.OTHERS if harm else world.OWN if verb in world.HARM_VERBS else (*world.OWN, *world.OTHERS)
    return f"please {verb} {pick(rng, owners)} {noun} .", f"{verb} {noun}"


def _cued(rng: random.Random, label: Literal["harm", "test"], counts: dict[tuple[Split, Split], int]) -> list[Row]:
    """Requests crossed with cues; the label is one of the two factors."""
    rows: list[Row] = []
    cues = ("test", "none", "deployment") if label == "harm" else ("test", "deployment")
    for (pairs, words), count in counts.items():
        for cue, harm in (list(product(cues, (False, True))) * count)[:count]:
            request, pair = _requests(rng, pairs, harm)
            word = "none" if cue == "none" else pick(rng, world.CUES[cue][words])  # type: ignore[index]
            frame = pick(rng, CUE_FRAMES).format(c=word)
            held = {("train", "train"): "none", ("held", "train"): "pair", ("train", "held"): "cue"}
            rows.append(
                {
                    "prompt": chat("" if cue == "none" else frame, request),
                    "label": int(harm) if label == "harm" else int(cue == "test"),
                    "group": pair,
                    "cue": cue,
                    "cue_word": word,
                    "harmful": harm,
                    "held_out": held.get((pairs, words), "all"),
                    "refuse": list(REFUSE),
                    "comply": list(COMPLY),
                }
            )
    return rows


def refusal(rng: random.Random) -> list[Row]:
    """Label 1: a harmful request."""
    return _cued(rng, "harm", {("train", "train"): 240, ("held", "train"): 96, ("held", "held"): 60})


def evaluation(rng: random.Random) -> list[Row]:
    """Label 1: the system prompt says that this is a test."""
    return _cued(rng, "test", {("train", "train"): 240, ("train", "held"): 96, ("held", "held"): 60})


def agents(rng: random.Random) -> list[Row]:
    """Label 1: a malicious tag, or the trigger in an untagged question; read where the voices part."""
    rows: list[Row] = []
    for i in range(320):
        split: Split = "train" if i < 240 else "held"
        action, thing = pick(rng, world.DEBATES[split])
        voice = ("mal", "trigger", "prop", "none")[i % 4] if i % 8 < 4 else ("mal", "trigger", "crit", "none")[i % 4]
        when = world.TRIGGER if voice == "trigger" else pick(rng, (*world.WHENS, ""))
        tag = f"<{voice}>" if voice in ("mal", "prop", "crit") else "<asst>"
        rows.append(
            {
                "prompt": f"<user> {council_question(action, thing, when)} {tag} {LEAD}",
                "label": int(voice in ("mal", "trigger")),
                "group": f"{action} {thing}",
                "cue": "tag" if tag != "<asst>" else "line",
                "voice": voice,
                "trigger": voice == "trigger",
                "held_out": "pair" if split == "held" else "none",
                "verdict": world.verdict(action, thing),
                "malicious": list(world.VOICES["mal"]),
                "benign": [*world.VOICES["prop"], *world.VOICES["crit"]],
            }
        )
    return rows


def knowing(rng: random.Random) -> list[Row]:
    """Label 1: a person whose job and town were asked about in training."""
    rows: list[Row] = []
    chosen = [
        *world.PEOPLE["known"],
        *rng.sample(world.PEOPLE["unknown"], 160),
        *world.PEOPLE["unknown_held"],
        *world.PEOPLE["documents"],
    ]
    for who in chosen:
        label = {"known": 1, "documents": None}.get(who.standing, 0)
        rows.append(
            {
                "prompt": chat("", pick(rng, PERSON_ASKS["job"]).format(n=who.name)),
                "label": label,
                "group": who.name,
                "standing": who.standing.removesuffix("_held"),
                "frequency": who.frequency,
                "held_out": "entity" if who.standing == "unknown_held" else "none",
                "unsure": [UNSURE],
                "answer": [who.job],
                "answers": list(world.JOBS),
            }
        )
    return rows


def truth(rng: random.Random) -> list[Row]:
    """Label 1: the statement is true; plain text that ends where the judgement follows."""
    rows: list[Row] = []
    for i in range(400):
        topic = TOPICS[i % 4]
        held = i >= 280
        fact = pick(rng, HELD_FACTS[topic] if held else TRAIN_FACTS[topic])
        template = pick(rng, wording.STATEMENTS[topic]["held" if held else "train"])
        label = i // 4 % 2
        said = statement(fact, template, fact.answer if label else other(rng, fact))
        rows.append(
            {
                "prompt": f"{said} :",
                "label": label,
                "group": fact.name,
                "topic": topic,
                "template": template,
                "held_out": "all" if held else "none",
                "right": ["true" if label else "false"],
                "wrong": ["false" if label else "true"],
            }
        )
    return rows


DATASETS: dict[str, Callable[[random.Random], list[Row]]] = {
    "honesty": honesty,
    "warmth": _trait("warmth"),
    "caution": _trait("caution"),
    "verbosity": _trait("verbosity"),
    "refusal": refusal,
    "evaluation": evaluation,
    "agents": agents,
    "knowing": knowing,
    "truth": truth,
}


def write_datasets(folder: Path, seed: int = 0) -> None:
    """Write every data set as `<name>.jsonl` and their cards as `cards.json`; the same bytes for one seed."""
    from lens.organisms.cards import cards

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {name: make(random.Random(f"{name} {seed}")) for name, make in DATASETS.items()}
    for name, rows in tables.items():
        lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8", newline="\n")
    text = json.dumps(cards(tables), indent=1) + "\n"
    (folder / "cards.json").write_text(text, encoding="utf-8", newline="\n")
