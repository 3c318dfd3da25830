"""What the study runs on a model: answers, behaviour and states, prompted and steered, each kept as it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens.errors import ArtifactError, DataError, ModelError, available
from lens.examples import Prompt
from lens.model import Model
from lens.sites import Site
from steering.interventions import Directional
from steering.studies.imbued import chats, imbued, takes_system
from steering.studies.personality import holding
from steering.studies.personality.answering import administer, questions
from steering.studies.personality.behaving import Behaviour, behave
from steering.studies.personality.conditions import Condition
from steering.studies.personality.inventory import Inventory
from steering.studies.pieces import Pieces
from steering.studies.result import digest_of, settings_of


@dataclass(frozen=True, eq=False)
class Study:
    """One run, and what it is given."""

    model: Model
    inventory: Inventory
    conditions: Sequence[Condition]
    behaviours: Sequence[Behaviour]
    contexts: Sequence[str]
    scenes: Sequence[Prompt]
    sites: Sequence[Site]
    random_draws: int
    least_mass: float
    margin: float
    seed: int
    progress: bool

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        asked = self.inventory
        return settings_of(
            self.model,
            inventory=asked.name,
            items=digest_of(asked.items[["text", "trait", "key"]].to_dict("split")["data"]),
            scale=dict(asked.scale),
            labels=asked.labels,
            templates=list(asked.templates),
            cue=asked.cue,
            joint=asked.joint,
            skipped=asked.skipped,
            conditions=[one.described() for one in self.conditions],
            behaviours=[one.described() for one in self.behaviours],
            contexts=list(self.contexts),
            scenes=digest_of(list(self.scenes)),
            sites=[str(site) for site in self.sites],
            random_draws=self.random_draws,
            least_mass=self.least_mass,
            margin=self.margin,
            seed=self.seed,
            nulls="labels permuted over wordings; the layer chosen anew; random directions of the same norm",
        )

    def check(self) -> None:
        """Raises, before anything runs, where something does not fit the model or the rest."""
        if self.model.is_encoder:
            raise ModelError(f"{self.model.name} is an encoder: it answers nothing.")
        if not self.contexts or len(set(self.contexts)) < len(self.contexts):
            raise DataError(f"Contexts are texts, each once, at least one; given: {available(self.contexts, 4)}.")
        names = [one.name for one in self.conditions]
        if len(set(names)) < len(names):
            raise DataError(f"Conditions need different names; given: {available(names)}.")
        traits = [one.trait for one in self.behaviours]
        if len(set(traits)) < len(traits):
            raise DataError(f"One behaviour for each trait; given: {available(traits)}.")
        known = {*self.inventory.traits, *traits}
        for one in self.conditions:
            if one.trait not in known:
                raise DataError(
                    f"Condition {one.name!r} is to bring about {one.trait!r}; the inventory and behaviours have "
                    f"{available(sorted(known))}."
                )
            for change in one.changes or ():
                change.check_model(self.model)
            if self.random_draws and along_direction(one):
                _check_random(one)
        if not 0 < self.margin < 1 or not 0 <= self.least_mass < 1 or self.random_draws < 0:
            raise DataError(
                f"margin={self.margin} (between 0 and 1), least_mass={self.least_mass} (from 0, below 1), "
                f"random_draws={self.random_draws} (0 or more)."
            )
        longest = max([*self.contexts, *self.texts], key=len)
        self.model.rows(questions(self.model, self.inventory, [longest])[1])
        system = takes_system(self.model)
        prompts = [*self.scenes, *(p for one in self.behaviours for p in one.prompts)]
        if any(isinstance(one, list) for one in prompts) and not chats(self.model):
            raise DataError(f"Scenes are chat messages, and {self.model.name} has no chat template; give plain texts.")
        if prompts:
            self.model.rows([imbued(one, longest, system=system) for one in prompts])

    @cached_property
    def prompted(self) -> list[Condition]:
        return [one for one in self.conditions if one.changes is None]

    @cached_property
    def texts(self) -> list[str]:
        """Texts of all prompted conditions."""
        return [text for one in self.prompted for text in one.texts]

    @cached_property
    def wordings(self) -> pd.DataFrame:
        """A row for every text: its condition, side (1 high, −1 low), and the number of its wording."""
        rows = []
        number = 0
        for one in self.prompted:
            for side, group in ((1, one.high), (-1, one.low)):
                for wording in group:
                    rows += [(one.name, side, number)] * len(wording)
                    number += 1
        return pd.DataFrame(rows, columns=["condition", "side", "wording"])

    @cached_property
    def owners(self) -> pd.DataFrame:
        """A row for every wording."""
        return self.wordings.drop_duplicates("wording").reset_index(drop=True)

    def labels(self, condition: str) -> Int[np.ndarray, " w"]:
        """Of each wording: 1 or −1 in this condition, 0 in others."""
        mine = self.owners["condition"].to_numpy() == condition
        return np.where(mine, self.owners["side"].to_numpy(), 0)

    def by_wording(self, values: Float[np.ndarray, "texts k"]) -> Float[np.ndarray, "w k"]:
        """Means over the texts of each wording, of those that are not missing."""
        member = self.wordings["wording"].to_numpy()
        present = ~np.isnan(values)
        shape = (len(self.owners), values.shape[1])
        total, count = np.zeros(shape), np.zeros(shape)
        np.add.at(total, member, np.where(present, values, 0.0))
        np.add.at(count, member, present)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def neutral(self, pieces: Pieces) -> pd.DataFrame:
        """The inventory without any condition, in every wording of the question."""
        return pieces.table("neutral", lambda: self._administer(self.inventory, self.contexts))

    def ratings(self, pieces: Pieces) -> pd.DataFrame:
        """The inventory after every text, in the first wording of the question."""
        return pieces.table("ratings", lambda: self._administer(self.inventory.only(templates=[0]), self.texts))

    def behaving(self, pieces: Pieces) -> pd.DataFrame:
        return pieces.table("behaviour", lambda: self._behave(self.texts))

    @cached_property
    def held(self) -> Float[np.ndarray, "sites w d"]:
        """The state where scenes end, after each wording."""
        found = holding.states(self.model, self.scenes, self.texts, self.sites, progress=self.progress).mean(axis=2)
        member = self.wordings["wording"].to_numpy()
        return np.stack([found[:, member == number].mean(axis=1) for number in range(len(self.owners))], axis=1)

    def products(self, pieces: Pieces) -> Float[np.ndarray, "sites w w"]:
        """Inner products of states, for each site."""
        size = len(self.owners)

        def made() -> pd.DataFrame:
            flat = holding.products(self.held, self.owners["condition"].to_numpy()).reshape(len(self.sites), -1)
            return pd.DataFrame(flat.T, columns=[str(site) for site in self.sites])

        kept = pieces.table("states", made).to_numpy(dtype=float)
        return kept.T.reshape(len(self.sites), size, size)

    def steered(self, pieces: Pieces, condition: Condition, site: Site | None) -> pd.DataFrame:
        """Of a steered condition and random directions like it: a row for every draw (0: itself), kind, trait, context
        and item or scene, with the value high, low, and how much probability was left.

        site: where the state is read, along the direction of the prompted condition of the same trait.
        """
        number = self.conditions.index(condition)
        return pieces.table(f"steered {number}", lambda: self._steered(condition, site))

    def _steered(self, condition: Condition, site: Site | None) -> pd.DataFrame:
        arms = [condition, *(condition.random(self.seed + draw) for draw in range(self.random_draws))]
        parts = []
        for number, arm in enumerate(arms):
            if arm is None:
                break
            assert arm.changes is not None
            both = [self._under(change, condition.trait, site, alone=number > 0) for change in arm.changes]
            table = both[0].rename(columns={"value": "high", "mass": "mass_high"})
            table["low"], table["mass_low"] = both[1]["value"], both[1]["mass"]
            parts.append(table.assign(draw=number))
        return pd.concat(parts, ignore_index=True)

    def _under(self, change: Any, trait: str, site: Site | None, *, alone: bool) -> pd.DataFrame:
        """Everything that is measured, under one intervention; alone: of this trait, which is all that random
        directions are needed for."""
        parts = [self._rated(change, [trait] if alone else self.inventory.traits)]
        behaviours = [one for one in self.behaviours if one.trait == trait or not alone]
        if behaviours:
            done = self._behave(self.contexts, change, behaviours=behaviours)
            parts.append(done.rename(columns={"text": "context", "coherence": "mass"}).assign(kind="behaviour"))
        if site is not None:
            number = list(self.sites).index(site)
            along = holding.direction(self.held, self.labels(self._prompts_for(trait)))[number]
            state = holding.states(self.model, self.scenes, self.contexts, [site], change, progress=self.progress)[0]
            contexts, rows = np.indices(state.shape[:2]).reshape(2, -1)
            columns = {"context": contexts, "row": rows, "value": (state @ along).reshape(-1), "mass": np.nan}
            parts.append(pd.DataFrame(columns).assign(kind="state", trait=trait))
        return pd.concat(parts, ignore_index=True)

    def _rated(self, change: Any, traits: Sequence[str]) -> pd.DataFrame:
        """Ratings of the items of some traits, means over the orders; `row` is the item's number in the inventory."""
        rows = np.flatnonzero(self.inventory.items["trait"].isin(list(traits)))
        if not len(rows):
            return pd.DataFrame({"context": [], "row": [], "value": [], "mass": [], "kind": [], "trait": []})
        asked = self.inventory.only(traits=traits, templates=[0])
        answers = administer(
            self.model, asked, self.contexts, change, least_mass=self.least_mass, progress=self.progress
        )
        value = answers["ev"].where(answers["missing"] == "")
        columns = {"context": answers["text"], "row": rows[answers["item"]], "value": value, "mass": answers["mass"]}
        cells = pd.DataFrame(columns).groupby(["context", "row"])
        both = cells.agg(value=("value", "mean"), known=("value", "count"), mass=("mass", "mean")).reset_index()
        both["value"] = both["value"].where(both["known"] == len(asked.orders))
        trait = self.inventory.items["trait"].to_numpy()[both["row"]]
        return both.drop(columns="known").assign(kind="self-report", trait=trait)

    def _prompts_for(self, trait: str) -> str:
        return next(one.name for one in self.prompted if one.trait == trait)

    def readable(self, condition: Condition) -> list[int]:
        """Places among `sites` where the state can be read along a prompted direction under this steering."""
        if not self.scenes or condition.trait not in {one.trait for one in self.prompted}:
            return []
        assert condition.changes is not None
        last = max(place.depth for change in condition.changes for place in change.places(self.model))
        return [number for number, site in enumerate(self.sites) if site.depth > last]

    def _administer(self, inventory: Inventory, texts: Sequence[str]) -> pd.DataFrame:
        return administer(self.model, inventory, texts, least_mass=self.least_mass, progress=self.progress)

    def _behave(
        self, texts: Sequence[str], *changes: Any, behaviours: Sequence[Behaviour] | None = None
    ) -> pd.DataFrame:
        chosen = self.behaviours if behaviours is None else behaviours
        return behave(self.model, chosen, texts, *changes, least_mass=self.least_mass, progress=self.progress)


def _check_random(condition: Condition) -> None:
    """Raises DataError: interventions that take from their direction what random ones do not have."""
    try:
        condition.random(0)
    except ArtifactError as error:
        raise DataError(
            f"Condition {condition.name!r}: no random directions can stand beside it ({error}) Give an intervention "
            "that says itself where it leads, such as Ablate(direction, to=…), or random_draws=0, which shows nothing."
        ) from error


def along_direction(condition: Condition) -> bool:
    """Whether random directions can stand beside it."""
    return condition.changes is not None and all(isinstance(one, Directional) for one in condition.changes)
