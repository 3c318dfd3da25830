"""What the study measures: vectors, the choice of layer and strength, and what each chosen push does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError, ModelError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from steering.effects import effects
from steering.measures import Measure
from steering.studies.result import digest_of, settings_of
from steering.studies.trait_vectors import choosing, crosstalk, reading
from steering.studies.trait_vectors.arms import Arms
from steering.studies.trait_vectors.choosing import Chosen
from steering.studies.trait_vectors.doses import dose_curve
from steering.studies.trait_vectors.monitoring import monitored
from steering.studies.trait_vectors.persistence import persistence
from steering.studies.trait_vectors.suppression import suppressed
from steering.studies.trait_vectors.traits import Part, Trait, of_part
from steering.studies.trait_vectors.vectors import Vectors, within_directions

MATCHED = 200


@dataclass(frozen=True, eq=False)
class Study:
    """One run: the model, the traits, which groups do what, and how they are treated."""

    model: Model
    traits: Mapping[str, Trait]
    parts: Mapping[str, Part]
    sites: list[Site]
    strengths: Sequence[float]
    draws: int
    share: float
    span: str
    capability: tuple[Examples, Measure] | None
    seed: int
    batch_tokens: int
    progress: bool

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        traits = {
            name: {
                "pairs": trait.pairs.hash(whole=True),
                "neutral": trait.neutral.hash(whole=True),
                "unseen": None if trait.unseen is None else trait.unseen.hash(whole=True),
                "measure": trait.measure.described(),
                "span": trait.span,
                "pool": trait.pool,
                "paired": trait.paired,
                "condition": trait.condition,
                "ask": trait.ask,
                "turns": [trait.turns, trait.reply],
            }
            for name, trait in self.traits.items()
        }
        able = self.capability and [self.capability[0].hash(whole=True), self.capability[1].described()]
        return settings_of(
            self.model,
            traits=traits,
            groups={part: sum(one == part for one in self.parts.values()) for part in ("train", "validation", "test")},
            dealt=digest_of(sorted(self.parts.items())),
            sites=[str(site) for site in self.sites],
            strengths=list(map(float, self.strengths)),
            draws=self.draws,
            share=self.share,
            steered=self.span,
            capability=able,
            seed=self.seed,
            nulls="random directions of the same norm, isotropic and with the covariance within conditions, each at "
            "the layer and with the sign that is best on validation groups",
        )

    def check(self) -> None:
        """Raises before anything runs: an encoder, prompts longer than the context, a measure that cannot be taken."""
        if self.model.is_encoder:
            raise ModelError(f"{self.model.name} is an encoder: it answers nothing.")
        for trait in self.traits.values():
            self.model.rows(trait.labelled.prompts, trait.labelled.responses)
            rows, _ = trait.measure.asked(trait.neutral.frame.to_dict("records"))
            trait.measure.tokens(self.model, rows)
            if trait.measure.needs == "logits":
                # One row: whether its columns are there and its options can be told apart.
                effects(self.model, trait.neutral.select([0]), trait.measure, progress=False)

    @cached_property
    def vectors(self) -> dict[str, Vectors]:
        return {
            name: Vectors.of(self.model, trait, self.parts, self.sites, self.progress)
            for name, trait in self.traits.items()
        }

    @cached_property
    def tests(self) -> dict[str, Arms]:
        return {name: self.arms(name, "test") for name in self.traits}

    def arms(self, name: str, part: Part) -> Arms:
        """The neutral rows of a part."""
        trait = self.traits[name]
        rows = trait.neutral.select(of_part(trait.neutral, self.parts, part))
        return Arms(self.model, rows, trait.measure, self.span, self.batch_tokens, self.progress)

    def at(self, site: Site) -> dict[str, Direction]:
        """Every trait's direction at one site."""
        return {name: one.directions[site] for name, one in self.vectors.items()}

    def vector_table(self) -> pd.DataFrame:
        tables = [one.reliability(self.seed).assign(trait=name) for name, one in self.vectors.items()]
        return _trait_first(pd.concat(tables, ignore_index=True))

    def reading(self) -> pd.DataFrame:
        return reading.by_layer(self.vectors, self.seed)

    def texts(self) -> pd.DataFrame:
        return reading.by_text(self.vectors, self.seed)

    def chosen(self) -> pd.DataFrame:
        """Every layer and strength on validation groups."""
        tables = [
            choosing.candidates(self.arms(name, "validation"), one.directions, self.strengths).assign(trait=name)
            for name, one in self.vectors.items()
        ]
        return _trait_first(pd.concat(tables, ignore_index=True))

    def nulls(self, lengths: Mapping[str, Mapping[Site, float]]) -> pd.DataFrame:
        """What random directions do to each trait's own score."""
        tables = []
        for name, one in self.vectors.items():
            arms = self.arms(name, "validation"), self.tests[name]
            found = choosing.null_effects(one, *arms, lengths[name], draws=self.draws, seed=self.seed)
            tables.append(found.assign(trait=name))
        return _trait_first(pd.concat(tables, ignore_index=True))

    def gram(self, chosen: Mapping[str, Chosen]) -> pd.DataFrame:
        return pd.concat([crosstalk.gram(self.at(chosen[name].site), name) for name in self.traits], ignore_index=True)

    def crosstalk(self, chosen: Mapping[str, Chosen]) -> pd.DataFrame:
        """Each trait's push on every score."""
        tables = [
            crosstalk.crosstalk(self.at(one.site), name, one, self.tests, share=self.share, seed=self.seed)
            for name, one in chosen.items()
        ]
        return pd.concat(tables, ignore_index=True)

    def composition(self, chosen: Mapping[str, Chosen]) -> pd.DataFrame:
        """Every two traits at once, on the scores of all."""
        directions = {name: one.directions for name, one in self.vectors.items()}
        tables = [
            crosstalk.composition(directions, chosen, pair, self.tests, seed=self.seed)
            for pair in combinations(self.traits, 2)
        ]
        return pd.concat(tables, ignore_index=True)

    def doses(self, chosen: Mapping[str, Chosen]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Curves, and how well strengths are ordered."""
        curves, ordered = [], []
        for name, one in chosen.items():
            direction = self.at(one.site)[name]
            curve, found = dose_curve(self.tests[name], direction, self.strengths, seed=self.seed)
            curves.append(curve.assign(trait=name, site=str(one.site)))
            ordered.append({"trait": name, **found})
        return _trait_first(pd.concat(curves, ignore_index=True)), pd.DataFrame(ordered)

    def monitoring(self, read: Mapping[str, Site]) -> pd.DataFrame:
        """Projection before the answer against the score of the answer, on labelled prompts of test groups."""
        rows = []
        for name, site in read.items():
            one, trait = self.vectors[name], self.traits[name]
            if not can_be_asked(trait):
                continue
            acts = one.acts.select(of_part(one.acts.examples, self.parts, "test"))
            found = effects(self.model, acts.examples, trait.measure, progress=self.progress)
            score = found["value"].to_numpy(dtype=float)
            X = acts.numpy(site).astype(np.float64)
            train = one.train.numpy(site).astype(np.float64)
            null = X @ within_directions(train, one.conditions(one.train), MATCHED, self.seed)
            projection = X @ one.directions[site].vector.numpy().astype(np.float64)
            conditions = one.conditions(acts)
            told = monitored(projection, score, conditions, acts.groups, null, seed=self.seed)
            rows.append({"trait": name, "site": str(site), "conditions": len(set(conditions)), **told})
        return pd.DataFrame(rows)

    def suppression(self, chosen: Mapping[str, Chosen]) -> tuple[pd.DataFrame, list[str]]:
        """Prompts of test groups that ask for the trait, without it."""
        tables, notes = [], []
        for name, one in chosen.items():
            trait = self.traits[name]
            if not can_be_asked(trait):
                notes.append(f"{name}: its rows hold answers; nothing was there to suppress.")
                continue
            shown = trait.labelled
            asked = shown.select(of_part(shown, self.parts, "test") & (shown.labels == 1))
            neutral = trait.neutral.select(of_part(trait.neutral, self.parts, "validation"))
            given = (self.model, self.at(one.site)[name], one, asked, neutral, trait.measure, self.capability)
            table, said = suppressed(*given, span=self.span, seed=self.seed, progress=self.progress)
            tables.append(table.assign(trait=name))
            notes += said
        table = _trait_first(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame()
        return table, list(dict.fromkeys(notes))

    def persistence(self, chosen: Mapping[str, Chosen]) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
        """How long traits last in dialogues of the neutral prompts of test groups, asked for and steered."""
        turns, lasts, notes = [], [], []
        for name, one in chosen.items():
            trait = self.traits[name]
            dialogues = _dialogues(self.tests[name].examples, trait.turns) if trait.ask else []
            if not dialogues:
                continue
            frame = self.tests[name].examples.frame.drop(columns="prompt")
            words = frame[[column for column in ("high", "low") if column in frame]].astype(str)
            if len(words.drop_duplicates()) > 1:
                notes.append(f"{name}: no dialogues were held: its rows do not all have the same words for the poles.")
                continue
            options: dict[str, Any] = {"direction": self.at(one.site)[name], "prompt": trait.ask}
            options |= {"strength": one.length, "unit": "raw", "columns": frame.iloc[0].to_dict()}
            options["max_new_tokens"] = trait.reply
            try:
                held = persistence(self.model, dialogues, trait.measure, **options, seed=self.seed, progress=False)
            except (DataError, ModelError) as error:
                notes.append(f"{name}: no dialogues were held: {error}")
                continue
            turns.append(held[0].assign(trait=name))
            lasts.append(held[1].assign(trait=name))
        both = [_trait_first(pd.concat(one, ignore_index=True)) if one else pd.DataFrame() for one in (turns, lasts)]
        return both[0], both[1], notes


def _dialogues(examples: Examples, turns: int) -> list[list[str]]:
    """User turns, `turns` of them to a dialogue; none where a prompt is something else than one user message."""
    said = []
    for prompt in examples.prompts:
        if isinstance(prompt, str) or len(prompt) != 1 or prompt[0]["role"] != "user":
            return []
        said.append(prompt[0]["content"])
    return [said[start : start + turns] for start in range(0, len(said) - turns + 1, turns)]


def can_be_asked(trait: Trait) -> bool:
    """Whether the rows that show a trait are prompts that its measure can be taken on."""
    if any(one is not None for one in trait.labelled.responses):
        return False
    try:
        trait.measure.asked(trait.labelled.frame.to_dict("records"))
    except DataError:
        return False
    return True


def _trait_first(table: pd.DataFrame) -> pd.DataFrame:
    return table[["trait", *(name for name in table.columns if name != "trait")]]
