"""Study: one run of the injections: its grid, the chosen cell beside its controls, and what a reader has to know."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lens.intervals import FEW_GROUPS
from steering.studies.injected_thoughts import evidence, talk, trials
from steering.studies.injected_thoughts.asking import Asker, usual_floor
from steering.studies.injected_thoughts.psychometric import psychometric_fit
from steering.studies.injected_thoughts.rates import arms, cells, chosen
from steering.studies.injected_thoughts.vectors import length
from steering.studies.pieces import Pieces
from steering.studies.result import Claim, settings_of

FEWEST_STRENGTHS = 3


@dataclass(frozen=True)
class Study:
    """What is run: the asker, the trials of a cell, strengths, and how many random directions for each concept."""

    asker: Asker
    base: pd.DataFrame
    strengths: Sequence[float]
    draws: int
    talks: bool

    @property
    def sites(self) -> list[str]:
        return [str(site) for site in next(iter(self.asker.concepts.values()))]

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        asker, asked = self.asker, self.asker.asked
        digest = hashlib.sha256()
        for own in asker.concepts.values():
            for one in own.values():
                digest.update(one.vector.double().numpy().tobytes() + repr(length(one)).encode())
        wording = repr((asked.trial, asked.which, asked.unrelated, asked.tell, asked.yes, asked.no))
        by_round = self.base["group"].iloc[0] != self.base["concept"].iloc[0]
        return settings_of(
            asker.model,
            concepts=list(asker.concepts),
            vectors=digest.hexdigest()[:16],
            sites=self.sites,
            strengths=[float(one) for one in self.strengths],
            trials=len(self.base),
            rounds=int(self.base["round"].nunique()),
            random_draws=self.draws,
            asked_by=asked.by,
            questions=hashlib.sha256(wording.encode()).hexdigest()[:16],
            injected_from=asked.start or "prompt[-1]",
            max_new_tokens=asked.max_new_tokens,
            temperature=0.0 if asker.deterministic else asker.temperature,
            score="rules" if asker.judge is None else getattr(asker.judge, "__qualname__", type(asker.judge).__name__),
            seed=asker.seed,
            chosen_on=f"half of the {'rounds' if by_round else 'concepts'}",
        )

    def run(self, pieces: Pieces) -> tuple[list[Claim], dict[str, pd.DataFrame], tuple[str, ...]]:
        """Claims, tables and notes."""
        ready = self._with_floor(pieces)
        sham = pieces.table("sham", lambda: ready.notices(trials.sham(self.base), "sham"))
        grid = pd.concat([pieces.table(f"injected_{site}", self._injected(ready, site)) for site in self.sites])
        site, strength = chosen(grid, sham)
        here = self.base[self.base["half"] == "test"].reset_index(drop=True)
        after = {
            "random": lambda: ready.notices(trials.random(here, site, strength, self.draws), "random"),
            "negated": lambda: ready.notices(trials.negated(here, site, strength), "negated"),
            "unrelated": lambda: ready.unrelated(trials.injected(here, site, [strength]), "unrelated"),
            "unrelated_sham": lambda: ready.unrelated(trials.sham(here), "unrelated_sham"),
        }
        beside = {name: pieces.table(name, make) for name, make in after.items()}
        own = grid[(grid["site"] == site) & (grid["strength"] == strength) & (grid["half"] == "test")]
        calm = sham[sham["half"] == "test"]
        parts = evidence.Arms(own, calm, beside["random"], beside["unrelated"], beside["unrelated_sham"])
        claims, comparisons = evidence.claims(parts, seed=self.asker.seed)
        shown = {"injected": own, "no injection": calm, "random direction": beside["random"]}
        shown |= {"negated": beside["negated"], "unrelated question": beside["unrelated"]}
        shown |= {"unrelated, no injection": beside["unrelated_sham"]}
        tables = {
            "cells": cells(grid, sham).assign(chosen=lambda t: (t["site"] == site) & (t["strength"] == strength)),
            "arms": arms(shown),
            "comparisons": comparisons,
            "psychometric": self._psychometric(grid, sham),
            "confusion": confusion(own),
            "vectors": talk.norms(self.asker),
            "trials": pd.concat([sham, grid, *beside.values()], ignore_index=True),
        }
        if self.talks:
            more, found = self._talk(ready, pieces, site, strength)
            claims, tables = claims + found, tables | more
        return claims, tables, self._notes(tables["trials"], here, site, strength, ready.floor)

    def _with_floor(self, pieces: Pieces) -> Asker:
        if self.asker.asked.by == "options":
            return self.asker
        asker = self.asker
        floor = pieces.table(
            "floor", lambda: pd.DataFrame({"floor": [usual_floor(asker.model, asker.asked, asker.seed)]})
        )
        return replace(asker, floor=float(floor["floor"].fillna(-np.inf).iloc[0]))

    def _injected(self, asker: Asker, site: str) -> Any:
        return lambda: asker.notices(trials.injected(self.base, site, self.strengths), f"injected {site}")

    def _talk(
        self, asker: Asker, pieces: Pieces, site: str, strength: float
    ) -> tuple[dict[str, pd.DataFrame], list[Claim]]:
        text = pieces.table("thought_vs_text", lambda: talk.thought_vs_text(asker, site, strength, self.draws))
        prefill = pieces.table("prefill", lambda: talk.prefill_disavowal(asker, site, strength))
        intent = pieces.table("intent", lambda: talk.intentional_control(asker))
        found = talk.claims(text, prefill, intent, site, seed=asker.seed)
        return {"thought_vs_text": text, "prefill": prefill, "intent": intent}, found

    def _psychometric(self, grid: pd.DataFrame, sham: pd.DataFrame) -> pd.DataFrame:
        rows = []
        for site in self.sites:
            both = pd.concat([sham, grid[grid["site"] == site]])
            by = both.dropna(subset="claims").groupby("strength")["claims"].agg(["sum", "size"]).astype(float)
            if len(by) >= FEWEST_STRENGTHS:
                strength = by.index.to_numpy(dtype=float)
                fit = psychometric_fit(strength, by["sum"].to_numpy(), by["size"].to_numpy(), seed=self.asker.seed)
                rows.append({"site": site} | {name: getattr(fit, name) for name in fit.__dataclass_fields__})
        names = ["site", "threshold", "low", "high", "slope", "guess", "lapse", "rises"]
        return pd.DataFrame(rows, columns=names)

    def _notes(
        self, table: pd.DataFrame, here: pd.DataFrame, site: str, strength: float, floor: float
    ) -> tuple[str, ...]:
        notes = [f"Chosen on the validation half: {site} at strength {strength:g}; claims are about the other half."]
        if (groups := here["group"].nunique()) < FEW_GROUPS:
            notes.append(
                f"Claims rest on {groups} groups: below {FEW_GROUPS} bootstrap intervals are narrow, go by p, which "
                f"cannot fall below {2.0 ** (1 - groups):.2g}."
            )
        if self.asker.asked.by == "options":
            notes.append(
                "Answers were read from the probabilities of known words; success is the product of those of the yes "
                "and of the right name, asked apart, so there is no order of claim and name."
            )
        else:
            unsaid = int((table["verdict"] == 0).sum())
            notes.append(f"{unsaid} of {len(table)} replies hold neither a yes nor a no, and count as no claim.")
            if not np.isfinite(floor):
                notes.append("Undisturbed replies are too short to say how likely a coherent one is: rules alone tell.")
        lost = int(table["claims"].isna().sum())
        if lost:
            notes.append(f"{lost} of {len(table)} replies could not be scored by the judge; they are missing, not no.")
        if not self.talks:
            notes.append(
                "Thought beside text, prefill and intention were not run: they need a chat template and free answers."
            )
        return tuple(notes)


def confusion(own: pd.DataFrame) -> pd.DataFrame:
    """How often each word was named for each concept; an empty name: none of the words."""
    return own.groupby(["concept", "named"], sort=False).size().rename("n").reset_index()
