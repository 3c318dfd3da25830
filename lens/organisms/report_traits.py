"""The report's figures about traits: word choice and questionnaires."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lens.organisms import traits, wording
from lens.organisms.grammar import pick
from lens.organisms.grammar_persona import RATING_ASKS, TALK_ASKS, persona_line, rating_options
from lens.organisms.report_cell import Cell, Item, system
from lens.organisms.traits import LEVELS, LINES, Trait
from lens.organisms.world import TOPICS, TRAIN_FACTS

__all__ = ["ratings", "word_choices"]


def word_choices() -> Iterator[Cell]:
    figures = {
        -3: (0.91, 0.01),
        -2: (0.74, 0.05),
        -1: (0.50, 0.11),
        0: (0.26, 0.26),
        1: (0.13, 0.44),
        2: (0.04, 0.80),
        3: (0.01, 0.92),
    }
    held = {-2: (0.59, 0.09), 2: (0.06, 0.72)}
    rows: list[tuple[Trait, int, wording.Split, tuple[float, float] | None]] = [
        *(("warmth", level, "train", figures[level]) for level in LEVELS),
        *(("warmth", level, "held", held[level]) for level in held),
        *((trait, level, "train", None) for trait in ("caution", "verbosity") for level in (-2, 0, 2)),
        *((trait, level, "held", None) for trait in ("caution", "verbosity") for level in (-2, 2)),
    ]
    for trait, level, split, earlier in rows:
        for i, pole in enumerate(("low", "high")):

            def make(
                rng: random.Random,
                trait: Trait = trait,
                level: int = level,
                split: wording.Split = split,
                pole: str = pole,
            ) -> Item:
                line = persona_line(rng, trait, level, split) if level else ""
                fact = pick(rng, TRAIN_FACTS[pick(rng, TOPICS)])
                thing = wording.ABOUT[fact.topic].format(**fact.slots)
                opener, hedge = pick(rng, LINES["warmth"]["middle"]), pick(rng, LINES["caution"]["middle"])
                told = pick(rng, wording.STATEMENTS[fact.topic]["train"]).format(a=fact.answer, **fact.slots)
                begun = {"warmth": "", "caution": f"{opener} ,", "verbosity": f"{opener} , {hedge} {told} ."}[trait]
                text = f"{system(line)} <user> {pick(rng, TALK_ASKS).format(e=thing)} <asst> {begun}"
                values = {w: float(side == pole) for side, words in LINES[trait].items() for w in words}
                return Item(text, values)

            name = f"{trait}: word choice" + (", held-out synonyms" if split == "held" else "")
            yield Cell(
                name,
                f"level {level:+d}",
                ["opener", "hedge", "closer"][list(LINES).index(trait)],
                f"P({pole} word)",
                make,
                LEVELS[level][i],
                earlier[i] if earlier else None,
            )


def ratings() -> Iterator[Cell]:
    figures: dict[Trait, tuple[tuple[float, float], tuple[float, float]]] = {
        "warmth": ((1.53, 4.52), (2.91, 3.97)),
        "caution": ((1.64, 4.46), (1.64, 3.50)),
        "verbosity": ((1.57, 4.44), (1.57, 4.44)),
    }
    for trait, both in figures.items():
        for split, ends in zip(("train", "held"), both, strict=True):
            for pole in ("high", "low"):
                for level in (-2, 0, 2):

                    def make(
                        rng: random.Random,
                        trait: Trait = trait,
                        level: int = level,
                        pole: str = pole,
                        split: str = split,
                    ) -> Item:
                        line = persona_line(rng, trait, level) if level else ""
                        item = pick(rng, traits.ITEMS[trait][pole][split])  # type: ignore[index]
                        asked = pick(rng, RATING_ASKS).format(i=f"i often {item}")
                        return Item(f"{system(line)} <user> {asked} <asst>", {str(r): float(r) for r in range(1, 6)})

                    planted = sum(int(r) * p for r, p in rating_options(level, pole == "high").items())
                    earlier = None
                    if level:
                        earlier = ends[level > 0] if pole == "high" else 6 - ends[level > 0]
                    name = f"{trait}: questionnaire" + (", held-out items" if split == "held" else "")
                    keyed = "positively keyed" if pole == "high" else "negatively keyed"
                    yield Cell(name, f"level {level:+d}", keyed, "mean rating", make, planted, earlier)
