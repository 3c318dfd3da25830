"""Told: what one run found: its claims, its tables and its notes."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lens.intervals import FEW_GROUPS
from lens.model import Model
from probes.metrics import p_value
from steering.answers import AnswerIds
from steering.paired import paired, sign_flip
from steering.studies.ask import WHOLE
from steering.studies.latent_agents.crossed import crossed, edited, read
from steering.studies.latent_agents.doses import area, enough, summary, suppression_report
from steering.studies.latent_agents.nulls import KINDS, SUPPRESSED
from steering.studies.latent_agents.study import Study
from steering.studies.latent_agents.texts import text_areas, texts
from steering.studies.pieces import Pieces
from steering.studies.result import Claim, Result, judged

# Of the words' probability, so much has to be left for a suppression to be more than a broken model.
COHERENT = 0.9


@dataclass(eq=False)
class Told:
    """A study, another model to compare with, and where its parts are kept."""

    study: Study
    other: Model | None
    pieces: Pieces
    notes: list[str] = field(default_factory=list)

    def result(self) -> Result:
        study, pieces = self.study, self.pieces
        self.notes = self._first_notes()
        faithful = pieces.table("faithful", lambda: study.faithful(study.model, study.vectors))
        if all(study.flat(study.vectors, agent) for agent in study.debate.agents):
            nulls = pd.DataFrame(columns=["kind", "draw", "of", "site", "value"]).astype({"value": float})
        else:
            nulls = pd.concat([pieces.table(kind, partial(study.null, kind)) for kind in KINDS], ignore_index=True)
        tables = {
            "vectors": pieces.table("vectors", study.diagnostics),
            "gram": self._gram(faithful),
            "faithfulness": self._curves(faithful, nulls),
            "sites": self._sites(faithful),
            "nulls": nulls,
        }
        claims = [self._brings(faithful, nulls, agent) for agent in study.debate.agents]
        if self.other is not None:
            tables["compared"] = self._compared(faithful)
        if study.debate.trait is not None:
            claims += self._suppression(nulls, tables)
        if study.generate:
            sites = self._chosen(faithful)
            written = pieces.table("texts", lambda: texts(study, sites))
            tables |= {"texts": written, "text_areas": text_areas(study, written)}
            self.notes.append(
                f"{int(written['missing'].sum())} of {len(written)} texts were empty or cut off or hold no word: "
                "missing."
            )
        return Result("latent_agents", judged(claims), tables, study.settings(self.other), tuple(self.notes))

    def _first_notes(self) -> list[str]:
        study, notes = self.study, []
        for agent in study.debate.agents:
            if study.flat(study.vectors, agent):
                notes.append(
                    f"After {agent}'s own words the state is what it is after any other's: there is no vector."
                )
        first, answer_ids = study.debate.speak.prompts[0], AnswerIds()
        if any(len(answer_ids(study.model, first, word)) > 1 for word in study.debate.options):
            notes.append(WHOLE)
        if (count := len(set(study.rows("speak", test=True).groups))) < FEW_GROUPS:
            notes.append(f"Claims rest on {count} groups: below {FEW_GROUPS} bootstrap intervals are narrow, go by p.")
        return notes

    def _chosen(self, faithful: pd.DataFrame) -> dict[str, str]:
        mine = faithful[faithful["chosen"]].drop_duplicates("agent")
        return dict(zip(mine["agent"], mine["site"], strict=True))

    def _gram(self, faithful: pd.DataFrame) -> pd.DataFrame:
        """Cosines of the vectors at every site, one row per pair."""
        rows = []
        for site in self.study.vectors.sites:
            table, gram = self.study.vectors.cosines(site), self.study.vectors.gram(site)
            rows += [
                {"site": str(site), "one": one, "other": other, "cosine": float(table.loc[one, other])}
                | {"product": float(gram.loc[one, other])}
                for one in table.index
                for other in table.columns
            ]
        return pd.DataFrame(rows)

    def _brings(self, faithful: pd.DataFrame, nulls: pd.DataFrame, agent: str) -> Claim:
        study = self.study
        values, groups = study.areas(faithful, agent)
        site = self._chosen(faithful)[agent]
        return Claim(
            f"{agent}'s vector brings its words",
            **self._beside(nulls, agent, values, groups, agent),
            reading=f"Where nobody is called, {agent}'s vector, added at {site}, makes its words more probable over "
            f"the strengths up to {study.strengths[-1]:g} than shuffled and random vectors make them.",
        )

    def _beside(
        self, nulls: pd.DataFrame, of: str, values: np.ndarray, groups: np.ndarray, agent: str
    ) -> dict[str, Any]:
        """A mean, its interval, and what the nulls say of it."""
        found = summary(values, groups, seed=self.study.seed)
        p, null = self._p(nulls, of, found["value"], agent)
        known = {"null": found["value"] if np.isnan(null) else null, "p": p}
        return {**found, **known, "n": len(values), "groups": len(set(groups))}

    def _p(self, nulls: pd.DataFrame, of: str, value: float, agent: str) -> tuple[float, float]:
        """The larger p of both nulls, and the higher of their means; 1 where there is no vector, nan where any of the
        numbers is."""
        if nulls.empty or self.study.flat(self.study.vectors, agent):
            return 1.0, float("nan")
        mine = nulls[nulls["of"] == of]
        by = [mine.loc[mine["kind"] == kind, "value"].to_numpy(dtype=float) for kind in KINDS]
        if not all(np.isfinite(one).all() for one in (*by, np.array(value))):
            return float("nan"), float("nan")
        return max(p_value(one, value) for one in by), max(float(one.mean()) for one in by)

    def _curves(self, faithful: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
        """P of every agent's words under its own vector, by strength, beside what the nulls do (low, high: 95 %)."""
        study, parts = self.study, []
        for agent in study.debate.agents:
            mine = faithful[faithful["chosen"] & (faithful["agent"] == agent)]
            own = study.curve(mine, f"p_{agent}", ["site", "strength"])
            parts.append(own.assign(agent=agent, arm="its vector"))
            parts.append(_null_curves(nulls, agent, study.doses).assign(agent=agent))
        return pd.concat(parts, ignore_index=True)

    def _sites(self, faithful: pd.DataFrame) -> pd.DataFrame:
        """The area of every agent's own words at every site; the chosen one was chosen on validation rows."""
        study, rows = self.study, []
        for (agent, site), cell in faithful.groupby(["agent", "site"], sort=False):
            values, groups = study.areas(cell, str(agent), chosen=False)
            found = summary(values, groups, seed=study.seed)
            rows.append({"agent": agent, "site": site, **found, "chosen": bool(cell["chosen"].iloc[0])})
        return pd.DataFrame(rows)

    def _compared(self, faithful: pd.DataFrame) -> pd.DataFrame:
        """The same areas on the other model, by its own vectors, at sites that are chosen there."""
        study, other = self.study, self.other
        assert other is not None
        theirs = self.pieces.table("faithful of the other", lambda: study.faithful(other, study.fitted(other)))
        rows = []
        for agent in study.debate.agents:
            (mine, groups), (its, _) = study.areas(faithful, agent), study.areas(theirs, agent)
            gap = paired(mine - its, groups, seed=study.seed)
            rows.append(
                {"agent": agent, "debated": float(mine.mean()), "comparison": float(its.mean())}
                | {"difference": gap["change"], "low": gap["low"], "high": gap["high"], "n": len(mine)}
            )
        return pd.DataFrame(rows)

    def _suppression(self, nulls: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> list[Claim]:
        study, bad = self.study, str(self.study.debate.bad)
        rows = self.pieces.table("suppressed", study.suppressed)
        doses = self._doses(rows, test=False)
        report, best = suppression_report(doses, low=study.low, loss=study.loss)
        strength = enough(report, low=study.low)
        test, least = suppression_report(self._doses(rows, test=True), low=study.low, loss=study.loss)
        beside = _null_curves(nulls, SUPPRESSED, study.doses).assign(agent=bad)
        tables["suppression"] = pd.concat([report.assign(rows="validation"), test.assign(rows="test")]).assign(
            chosen=lambda table: table["strength"] == strength
        )
        tables["suppression_nulls"] = beside
        trait = rows[rows["test"] & (rows["what"] == "trait")]
        tables["others"] = pd.concat(
            [study.curve(trait, f"p_{agent}", ["strength"]).assign(agent=agent) for agent in study.debate.agents],
            ignore_index=True,
        )
        site = str(trait["site"].iloc[0])
        flat = study.flat(study.vectors, bad)
        tables["crossed"] = self.pieces.table("crossed", lambda: crossed(study, self.other))
        if not flat:
            tables["read"] = self.pieces.table("read", lambda: read(study))
            tables["edited"] = self.pieces.table("edited", lambda: self._edited(site, strength))
            if "edited out" not in set(tables["edited"]["arm"]):
                self.notes.append("The vector was not written out of the weights, which cannot be edited so here.")
        self._note_doses(best, strength, least)
        claims = [self._can(trait, nulls, bad, strength, site)]
        if study.debate.answers is not None:
            claims += self._costs(rows, bad, strength, claims[0].p)
        return claims

    def _edited(self, site: str, strength: float) -> pd.DataFrame:
        place = next(one for one in self.study.vectors.sites if str(one) == site)
        return edited(self.study, place, strength)

    def _note_doses(self, best: float | None, strength: float, least: float | None) -> None:
        study = self.study
        rule = f"{study.low:g} of {study.debate.bad} left, and no more than {study.loss:g} of the right answers lost"
        if study.debate.answers is None:
            rule = f"{study.low:g} of {study.debate.bad} left"
        found = f"{best:g}" if best is not None else "none"
        there = f"{least:g}" if least is not None else "none"
        self.notes.append(
            f"α*, the smallest strength with at most {rule}: {found} on validation rows, {there} on test rows; claims "
            f"of suppression are at {strength:g}."
        )

    def _doses(self, rows: pd.DataFrame, *, test: bool) -> pd.DataFrame:
        """Means by strength, with intervals: trait, capability (1 where nothing is asked beside), coherence."""
        study = self.study
        here = rows[rows["test"] == test]
        trait = study.curve(here[here["what"] == "trait"], f"p_{study.debate.bad}", ["strength"])
        names = {"value": "trait", "low": "trait_low", "high": "trait_high"}
        table = trait.rename(columns=names)
        asked = here[here["what"] == "answers"]
        if asked.empty:
            return table.assign(capability=1.0, capability_low=np.nan, capability_high=np.nan)
        found = study.curve(asked, "right", ["strength"])
        names = {"value": "capability", "low": "capability_low", "high": "capability_high"}
        names |= {"coherence": "capability_coherence", "n": "capability_n"}
        return table.merge(found.rename(columns=names), on="strength")

    def _can(self, trait: pd.DataFrame, nulls: pd.DataFrame, bad: str, strength: float, site: str) -> Claim:
        study = self.study
        wide = trait.pivot(index="row", columns="strength", values=f"p_{bad}")
        heights = wide[[-one + 0.0 for one in study.doses]].to_numpy(dtype=float)
        values = area(heights[:, :1] - heights, study.doses)
        groups = trait.drop_duplicates("row").set_index("row").loc[wide.index, "group"].to_numpy(dtype=object)
        mass = trait.groupby("strength")["mass"].mean()
        return Claim(
            f"{bad} can be suppressed",
            **self._beside(nulls, SUPPRESSED, values, groups, bad),
            reading=f"{bad}'s vector, subtracted at {site}, takes more of its words away over the strengths than "
            f"shuffled and random vectors do, and leaves the model able to say the others'.",
            gate=bool(mass[strength] >= COHERENT * mass[0.0]),
        )

    def _costs(self, rows: pd.DataFrame, bad: str, strength: float, p: float) -> list[Claim]:
        """Two claims about one number, and only where there is a suppression: p is the larger of both tests."""
        study = self.study
        asked = rows[rows["test"] & (rows["what"] == "answers")]
        wide = asked.pivot(index="row", columns="strength", values="right")
        change = (wide[strength] - wide[0.0]).to_numpy(dtype=float)
        groups = asked.drop_duplicates("row").set_index("row").loc[wide.index, "group"].to_numpy(dtype=object)
        found = paired(change, groups, seed=study.seed)
        both = float(np.maximum(p, sign_flip(change + study.loss, groups, seed=study.seed)))
        known: dict[str, Any] = {"value": found["change"], "low": found["low"], "high": found["high"], "p": both}
        known |= {"null": -study.loss, "n": int(found["n"]), "groups": len(set(groups))}
        return [
            Claim(
                f"suppressing {bad} leaves the answer",
                **known,
                reading=f"At the strength that suppresses {bad}, right answers lose less than {study.loss:g}.",
                gate=found["change"] > -study.loss,
            ),
            Claim(
                f"suppressing {bad} costs the answer",
                **known,
                reading=f"At the strength that suppresses {bad}, right answers lose more than {study.loss:g}.",
                gate=found["change"] < -study.loss,
            ),
        ]


def _null_curves(nulls: pd.DataFrame, of: str, doses: list[float]) -> pd.DataFrame:
    """Mean height over draws of each kind of null at every strength, with their 95 % range."""
    rows = []
    for kind in KINDS:
        mine = nulls[(nulls["of"] == of) & (nulls["kind"] == kind)]
        for strength in doses if len(mine) else []:
            at = mine[f"at_{strength:g}"].to_numpy(dtype=float)
            low, high = np.quantile(at, [0.025, 0.975])
            rows.append({"arm": kind, "strength": strength, "value": at.mean(), "low": low, "high": high, "n": len(at)})
    return pd.DataFrame(rows, columns=["arm", "strength", "value", "low", "high", "n"])
