"""What the tests of the study of personality share: short inventories, runs on organisms, models that have nothing."""

import dataclasses
import functools
import warnings

import numpy as np
import pandas as pd
import tiny
from built import made

import lens
from lens.sites import Site
from probes import Direction
from steering import Add, measures
from steering.studies import personality
from steering.studies.personality import Behaviour, Condition, Inventory
from steering.studies.personality.answering import judge_cells
from steering.studies.personality.study import Study
from steering.studies.personality.telling import Told
from steering.studies.pieces import Pieces

TRAITS = ("calm", "brave")


@functools.cache
def found(name: str, seed: int = 0, **changed):
    """The whole study of a constructed organism."""
    _, model = made(name)
    if seed:
        from lens.organisms import constructed

        organism = constructed.build(name, seed)
        model = lens.wrap(organism.hf, organism.tokenizer, name=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return personality.run(model, progress=False, **personality.of_organism(name), **changed)


@functools.cache
def trained():
    """The trained organism with every second item, one frame for each word, and fewer scenes and random directions."""
    model, own = lens.load("organism"), personality.of_organism()
    asked = dataclasses.replace(own["inventory"], items=own["inventory"].items.iloc[::2])
    conditions = [
        Condition.prompted(one.trait, *([text[0] for text in side] for side in (one.high, one.low)))
        for one in own["conditions"]
    ]
    conditions.append(personality.steered_warmth(model, progress=False))
    behaviours = [dataclasses.replace(one, examples=one.examples.select(range(8))) for one in own["behaviours"]]
    scenes = [prompt for one in behaviours for prompt in one.prompts[:2]]
    return personality.run(
        model, asked, conditions=conditions, behaviours=behaviours, scenes=scenes, random_draws=6, progress=False
    )


def items(each: int = 4) -> pd.DataFrame:
    """Items of two traits, half of them reverse-keyed."""
    rows = [
        {"text": f"{before}{word} {number}", "trait": trait, "key": key}
        for trait, word in zip(TRAITS, ("lied", "fox"), strict=True)
        for number in range(each // 2)
        for key, before in ((1, ""), (-1, "no "))
    ]
    return pd.DataFrame(rows)


def short(**given) -> Inventory:
    """An inventory of few tokens, for models with a context of 128."""
    scale = {"yes": 3.0, "maybe": 2.0, "no": 1.0}
    usual = {"scale": scale, "labels": None, "templates": ("she {item}: {options}",), "cue": "", "joint": " "}
    return Inventory("short", items(), **{**usual, **given})


WORDS = ("the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that")


def random_run(family: str, *, chat: bool, seed: int = 0, **given):
    """The study, unchanged, on a tiny random model."""
    hf, tokenizer = tiny.hugging_face(family, seed=seed, chat=chat)
    model = lens.wrap(hf, tokenizer, name=f"{family} {seed}")
    vector = np.random.default_rng(seed).standard_normal(64)
    direction = Direction.from_vector(vector, "resid_post.1", model=model)
    conditions = [
        Condition.prompted("calm", WORDS[:5], WORDS[5:]),
        Condition.prompted("brave", [f"{w} no" for w in WORDS[:5]], [f"{w} no" for w in WORDS[5:]]),
        Condition.steered("calm", Add(direction, 2.0, unit="raw"), Add(direction, -2.0, unit="raw")),
    ]
    scenes = lens.Examples.from_texts(["was that money", "she lied about", "the fox was", "brown money", "a fox a"])
    behaviours = [Behaviour("calm", scenes, measures.option(" yes", " no"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = {"conditions": conditions, "behaviours": behaviours, "random_draws": 3, "progress": False}
        return personality.run(model, short(), seed=seed, **{**usual, **given})


class Nothing(Study):
    """A study whose tables are noise: wordings, items and directions differ, and none of it has to do with a trait."""

    def settings(self):
        return {"model": "noise"}

    @property
    def rng(self):
        return self.__dict__.setdefault("_rng", np.random.default_rng(self.seed))

    def _cells(self, effects, templates):
        """Answers with these expected values, [texts, items], in both orders."""
        texts, count = effects.shape
        index = np.indices((texts, templates, count, 2)).reshape(4, -1).T
        rows = pd.DataFrame(index, columns=["text", "template", "item", "order"])
        ev = effects[rows["text"], rows["item"]] + 0.2 * self.rng.standard_normal(len(rows))
        share = np.stack([(ev - 1) / 2, np.zeros(len(ev)), (3 - ev) / 2], axis=1).clip(0, 1)
        share = share / share.sum(axis=1, keepdims=True) * 0.97 + 0.01
        return judge_cells(rows, self.inventory, share, np.ones(len(rows)), least_mass=0.1).assign(by="next token")

    def neutral(self, pieces):
        return self._cells(2 + 0.3 * self.rng.standard_normal((1, len(self.inventory))), 3)

    def _by_condition(self, columns):
        """Effects of wordings on columns, larger in some conditions than in others; frames of a wording are alike."""
        scale = {one.name: size for one, size in zip(self.prompted, (0.3, 0.05), strict=True)}
        size = self.owners["condition"].map(scale).to_numpy()[:, None]
        effects = size * self.rng.standard_normal((len(self.owners), columns))
        agreement = size * self.rng.standard_normal((len(self.owners), 1))
        return (effects + agreement)[self.wordings["wording"].to_numpy()]

    def ratings(self, pieces):
        return self._cells(2 + self._by_condition(len(self.inventory)), 1)

    def behaving(self, pieces):
        parts = []
        for one in self.behaviours:
            value = 0.5 + self._by_condition(1) + 0.02 * self.rng.standard_normal((len(self.texts), 6))
            text, row = np.indices(value.shape).reshape(2, -1)
            table = {"trait": one.trait, "text": text, "row": row, "value": value.reshape(-1), "coherence": 1.0}
            table["group"] = row.astype(str)
            parts.append(pd.DataFrame(table))
        return pd.concat(parts, ignore_index=True)

    def products(self, pieces):
        from steering.studies.personality.holding import products

        conditions = self.owners["condition"].to_numpy()
        sizes = np.where(conditions == conditions[0], 2.0, 0.5)[:, None]
        held = self.rng.standard_normal((len(self.sites), len(conditions), 16)) * sizes
        held[1:] *= 4
        return products(held, conditions)

    def steered(self, pieces, condition, site):
        """Shifts that are linear in the direction, and no larger along this one than along others."""
        gains = {kind: self.rng.standard_normal((count, 24)) for kind, count in (("self-report", 16), ("behaviour", 6))}
        parts = []
        for draw in range(self.random_draws + 1):
            v = self.rng.standard_normal(24) / 24**0.5
            for kind, gain in gains.items():
                common = 0.2 * gain[0] @ v
                moved = 0.1 * gain @ v + common
                rows = np.arange(len(gain))
                trait = self.inventory.items["trait"].to_numpy()[rows] if kind == "self-report" else condition.trait
                columns = {"context": 0, "row": rows, "high": moved, "low": -moved, "trait": trait, "kind": kind}
                columns["group"] = rows.astype(str)
                parts.append(pd.DataFrame(columns | {"mass_high": 1.0, "mass_low": 1.0, "draw": draw}))
        return pd.concat(parts, ignore_index=True)


def nothing(seed: int):
    """One run of the study's statistics on noise."""
    asked = dataclasses.replace(short(templates=("she {item}: {options}",) * 3), items=items(8))
    direction = Direction.from_vector(np.ones(64), "resid_post.1")
    conditions = [
        Condition.prompted(trait, *([(f"{trait} {s} {n}", f"very {trait} {s} {n}") for n in range(4)] for s in "hl"))
        for trait in TRAITS
    ]
    conditions.append(Condition.steered("calm", Add(direction, 1.0, unit="raw"), Add(direction, -1.0, unit="raw")))
    scenes = lens.Examples.from_texts([f"scene {n}" for n in range(6)])
    behaviours = [Behaviour(trait, scenes, measures.option(" yes", " no"), name=trait) for trait in TRAITS]
    sites = [Site("resid_post", number) for number in range(3)]
    study = Nothing(
        model=made("selfreport")[1],
        inventory=asked,
        conditions=conditions,
        behaviours=behaviours,
        contexts=[""],
        scenes=["a"],
        sites=sites,
        random_draws=20,
        least_mass=0.1,
        margin=0.1,
        seed=seed,
        progress=False,
    )
    study.__dict__["readable"] = lambda condition: []
    return Told(study, Pieces(None, {})).result()
