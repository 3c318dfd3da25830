"""Telling: from what was measured to what may be claimed."""

from collections.abc import Iterator
from math import comb
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from steering.studies.ask import WHOLE
from steering.studies.personality import chance, holding
from steering.studies.personality.answering import keyed, ratings
from steering.studies.personality.behaving import values
from steering.studies.personality.conditions import Condition
from steering.studies.personality.forms import biases
from steering.studies.personality.parting import part_claim
from steering.studies.personality.pushed import Pushed
from steering.studies.personality.reliability import administrations, cronbach_alpha, reliability
from steering.studies.personality.study import Study
from steering.studies.pieces import Pieces
from steering.studies.result import Claim, Result, judged

# A shift of less than this share of the range is rounding, or nothing to speak of.
SLIGHT = 0.02
HALF = 0.5
# What a p-value has to reach where there are a dozen claims.
FLOOR = 0.004
FOLLOWS = {
    "self-report": ("self-report follows {name}", "What it says of itself moves with {name}, in items of both keys."),
    "behaviour": ("behaviour follows {name}", "What it does moves with {name}."),
    "state": ("state holds {name}", "Its state keeps {name} apart in wordings that the direction was not fitted on."),
}


class Measured(NamedTuple):
    """Values of wordings [w, items or scenes], the weights of these, which of them belong together, the range, and how
    much probability was left on the options."""

    values: Float[np.ndarray, "w k"]
    weights: Float[np.ndarray, " k"]
    units: np.ndarray
    range: float
    left: float

    def bootstrapped(self, labels: np.ndarray, seed: int) -> Float[np.ndarray, " draws"]:
        """Shifts between the wordings of label 1 and −1, as shares of the range."""
        mine = labels != 0
        found = chance.bootstrapped(self.values[mine], self.weights, labels[mine], self.units, seed=seed)
        return np.asarray(found / self.range)


class Told:
    """The tables, claims and notes of one run."""

    def __init__(self, study: Study, pieces: Pieces) -> None:
        self.study, self.pieces = study, pieces
        self.tables: dict[str, pd.DataFrame] = {}
        self.notes: list[str] = []
        self.shifts: list[dict[str, Any]] = []
        self.random: list[dict[str, Any]] = []
        self.sites: list[dict[str, Any]] = []

    def result(self) -> Result:
        study = self.study
        answers = study.neutral(self.pieces)
        self.tables["reliability"] = reliability(answers, study.inventory, seed=study.seed)
        self.tables["administrations"] = administrations(answers, study.inventory)
        self._count(answers, "unprompted")
        claims = [*self._conditions(), *biases(study.inventory, answers, seed=study.seed)]
        self.tables["shifts"] = pd.DataFrame(self.shifts)
        for name, rows in (("sites", self.sites), ("random", self.random)):
            if rows:
                self.tables[name] = pd.DataFrame(rows)
        if (answers["by"] != "next token").any():
            self.notes.append(WHOLE)
        if not study.inventory.both_keys:
            self.notes.append("Items of one key only: agreement with everything cannot be told.")
        if study.inventory.skipped:
            self.notes.append(f"{study.inventory.skipped} items of the file have no key of 1 or −1 and were left out.")
        self.tables["answers"] = answers
        return Result("personality", judged(claims), self.tables, study.settings(), tuple(self.notes))

    def _count(self, answers: pd.DataFrame, where: str) -> None:
        lost = answers["missing"].value_counts()
        mass, locked = int(lost.get("mass", 0)), int(lost.get("lock", 0))
        if mass + locked:
            self.notes.append(
                f"{mass + locked} of {len(answers)} answers are missing ({where}): in {mass} the options had less than "
                f"{self.study.least_mass:g} of the probability; in {locked} one option had nearly all, as in the whole "
                "trait."
            )

    def _conditions(self) -> Iterator[Claim]:
        """For each condition: self-report, behaviour, state; and whether the first two part."""
        study = self.study
        measured = self._measured() if study.prompted else {}
        for one in study.prompted:
            floor = self._floor(one)
            if floor > FLOOR:
                self.notes.append(f"{one.name}: so few wordings that p cannot fall below {floor:.2g}; give more.")
            rows = [self._follows(one, kind, trait, what) for (kind, trait), what in measured.items()]
            if study.scenes:
                rows.append(self._holds(one))
            yield from self._claims(one, rows)
            yield from self._parts(one, measured)
        for one in study.conditions:
            if one.changes is not None:
                pushed = Pushed(study, one, self._site(one))
                table = study.steered(self.pieces, one, pushed.site)
                rows, null = pushed.shifts(table)
                self.random += null
                self.notes += pushed.notes
                for row in rows:
                    if row["missing"]:
                        whole = row["n"] + row["missing"]
                        what = f"{row['kind']}, {row['measured']}"
                        self.notes.append(f"{one.name}: {row['missing']} of {whole} values are missing ({what}).")
                yield from self._claims(one, rows)
                part = pushed.parts(rows)
                if part is not None:
                    yield part

    def _floor(self, one: Condition) -> float:
        """One in so many ways to label as many wordings."""
        all_of_them, high = len(self.study.owners), len(one.high)
        return 1 / (comb(all_of_them, high) * comb(all_of_them - high, len(one.low)))

    def _measured(self) -> dict[tuple[str, str], Measured]:
        """By kind and trait."""
        study, found = self.study, {}
        answers = study.ratings(self.pieces)
        self._count(answers, "prompted")
        rated = study.by_wording(ratings(answers, study.inventory.only(templates=[0])))
        traits, keys = study.inventory.items["trait"].to_numpy(), study.inventory.items["key"].to_numpy()
        mass = float(answers["mass"].mean())
        for trait in study.inventory.traits:
            mine = traits == trait
            weights = chance.balanced(keys[mine])
            units = np.arange(len(weights))
            found["self-report", trait] = Measured(rated[:, mine], weights, units, study.inventory.range, mass)
        self._wordings(rated, ratings(answers, study.inventory.only(templates=[0]), column="likeliest"))
        self._alphas(rated)
        if study.behaviours:
            done = study.behaving(self.pieces)
            lost = int(done["value"].isna().sum())
            if lost:
                self.notes.append(f"{lost} of {len(done)} values of behaviour are missing.")
            for one in study.behaviours:
                given, groups = values(done, one.trait)
                each = study.by_wording(given)
                weights = np.full(each.shape[1], 1 / each.shape[1])
                left = float(done.loc[done["trait"] == one.trait, "coherence"].mean())
                found["behaviour", one.trait] = Measured(each, weights, groups, one.range, left)
        return found

    def _wordings(self, rated: Float[np.ndarray, "w items"], likeliest: Float[np.ndarray, "texts items"]) -> None:
        """What every wording brings about: scores by expected values, and by likeliest options."""
        study, parts = self.study, []
        chosen = study.by_wording(likeliest)
        for trait in study.inventory.traits:
            mine = (study.inventory.items["trait"] == trait).to_numpy()
            weights = chance.balanced(study.inventory.items["key"].to_numpy()[mine])
            middle = study.inventory.middle * (1 - weights.sum())
            columns = {
                "measured": trait,
                "score": chance.scored(rated[:, mine], weights) + middle,
                "likeliest": chance.scored(chosen[:, mine], weights) + middle,
            }
            aimed = {one.name: one.trait for one in study.prompted}
            parts.append(study.owners.assign(aimed=study.owners["condition"].map(aimed), **columns))
        self.tables["wordings"] = pd.concat(parts, ignore_index=True)

    def _alphas(self, rated: Float[np.ndarray, "w items"]) -> None:
        """Cronbach's alpha over all wordings as a population, where every score is there."""
        study, table = self.study, self.tables["reliability"]
        score, alphas = keyed(rated, study.inventory), []
        for trait in study.inventory.traits:
            mine = score[:, (study.inventory.items["trait"] == trait).to_numpy()]
            enough = mine.shape[0] > 2 and mine.shape[1] > 1 and not np.isnan(mine).any()
            alphas.append(cronbach_alpha(mine) if enough else np.nan)
        self.tables["reliability"] = table.assign(alpha_of_personas=alphas)

    def _follows(self, one: Condition, kind: str, trait: str, what: "Measured") -> dict[str, Any]:
        """How far a condition moves one trait, as a share of the range."""
        study, each = self.study, what.values
        labels = study.labels(one.name)
        scores = chance.scored(each, what.weights) / what.range
        mine = labels != 0
        boot = what.bootstrapped(labels, study.seed)
        low, high = chance.interval(boot)
        value = chance.shift(scores[None], labels, np.ones((1, len(labels))))[0]
        return {
            "condition": one.name,
            "trait": one.trait,
            "kind": kind,
            "measured": trait,
            "shift": float(value),
            "low": low,
            "high": high,
            "p": chance.permuted(scores, labels, study.owners["condition"].to_numpy(), seed=study.seed),
            "n": int((~np.isnan(each[mine])).sum()),
            "groups": int((~np.isnan(scores[mine])).sum()),
            "missing": int(np.isnan(each[mine]).sum()),
            "left": what.left,
            "keyed_both": kind != "self-report" or bool((what.weights > 0).any() and (what.weights < 0).any()),
        }

    def _holds(self, one: Condition) -> dict[str, Any]:
        """Whether states keep a condition's wordings apart, where they do so most."""
        study = self.study
        K, labels = study.products(self.pieces), study.labels(one.name)
        found, best, p = holding.held(K, labels, seed=study.seed)
        for site, value in zip(study.sites, found, strict=True):
            self.sites.append({"condition": one.name, "site": str(site), "shift": float(value)})
        mine = labels != 0
        each = holding.scores(K[best], labels[None])[0][mine][:, None]
        low, high = chance.interval(chance.bootstrapped(each, np.ones(1), labels[mine], seed=study.seed))
        row: dict[str, Any] = {"condition": one.name, "trait": one.trait, "kind": "state", "measured": one.trait}
        row |= {"shift": float(found[best]), "low": low, "high": high, "p": p, "n": int(mine.sum()) * len(study.scenes)}
        return row | {"groups": int(mine.sum()), "missing": 0, "left": np.nan, "keyed_both": True}

    def _site(self, one: Condition) -> Any:
        """Where the state is read under steering: where prompts move it most, of the sites after the steered one."""
        later = self.study.readable(one)
        table = [row for row in self.sites if row["condition"] == self.study._prompts_for(one.trait)] if later else []
        return self.study.sites[max(later, key=lambda number: table[number]["shift"])] if later else None

    def _claims(self, one: Condition, rows: list[dict[str, Any]]) -> Iterator[Claim]:
        """Of all shifts, those of the trait that the condition is to bring about."""
        self.shifts += [
            {name: value for name, value in row.items() if name not in ("keyed_both", "gate")} for row in rows
        ]
        for row in rows:
            if row["measured"] != one.trait:
                continue
            if not row["keyed_both"]:
                self.notes.append(
                    f"{row['measured']}: all items have the same key, so that agreement cannot be told from the trait."
                )
            claim, reading = (text.format(name=one.name) for text in FOLLOWS[row["kind"]])
            whole = row["n"] + row["missing"]
            enough = row["n"] >= HALF * whole if whole else False
            yield Claim(
                claim,
                **{name: row[name] for name in ("low", "high")},
                value=row["shift"],
                null=0.0,
                p=row["p"] if enough else float("nan"),
                n=row["n"],
                groups=row["groups"],
                reading=reading,
                gate=bool(row["keyed_both"] and row["low"] > SLIGHT and row.get("gate", True)),
            )

    def _parts(self, one: Condition, measured: dict[tuple[str, str], Measured]) -> Iterator[Claim]:
        """Whether one of self-report and behaviour follows while the other stays within the margin."""
        keys = [(kind, one.trait) for kind in ("self-report", "behaviour")]
        if not all(key in measured for key in keys):
            return
        both = [measured[key] for key in keys]
        study, labels = self.study, self.study.labels(one.name)
        scores = [chance.scored(what.values, what.weights) / what.range for what in both]
        boots = [what.bootstrapped(labels, study.seed) for what in both]
        rows = [row for row in self.shifts if row["condition"] == one.name and row["measured"] == one.trait]
        follow = [next(row for row in rows if row["kind"] == kind) for kind in ("self-report", "behaviour")]
        still = [chance.equivalent(each, labels, study.margin) for each in scores]
        yield part_claim(one.name, follow, still, boots[0] - boots[1], study.margin)
