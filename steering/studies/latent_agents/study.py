"""Study: one run: the vectors, what they do on validation and test rows, and the tables of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from lens.errors import DataError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from steering.studies.answered import Push
from steering.studies.latent_agents.debate import Debate, kinds, of_kind, part
from steering.studies.latent_agents.doses import area, right, spoken, summary
from steering.studies.latent_agents.nulls import Null
from steering.studies.latent_agents.vectors import ROUNDING, AgentVectors, agent_vectors
from steering.studies.result import settings_of


@dataclass(frozen=True, eq=False)
class Study:
    """A model and its debate, and how they are treated; strengths ascend and are positive."""

    model: Model
    debate: Debate
    places: Any
    span: str
    strengths: tuple[float, ...]
    draws: int
    low: float
    loss: float
    paper_offset: bool
    generate: int
    seed: int
    progress: bool
    parts: dict[tuple[Any, ...], Examples] = field(default_factory=dict, repr=False)

    def settings(self, other: Model | None) -> dict[str, Any]:
        """Everything that decides the numbers."""
        return settings_of(
            self.model,
            other=None if other is None else other.name,
            other_fingerprint=None if other is None else other.fingerprint,
            applied=[*self.model.applied, *(other.applied if other else [])],
            data=self.debate.hash(),
            agents=list(self.debate.agents),
            bad=self.debate.bad,
            sites=[str(site) for site in self.model.sites(self.places)],
            span=self.span,
            strengths=list(self.strengths),
            unit="the agent's own mean difference",
            draws=self.draws,
            low=self.low,
            loss=self.loss,
            paper_offset=self.paper_offset,
            generate=self.generate,
            seed=self.seed,
            chosen_on="half of the groups, and the first round",
        )

    def check(self) -> None:
        """Raises DataError, before anything runs: a part without rows, or without an agent's items."""
        # What is written is compared with what the agents said in the held-out groups.
        for test, what in ((False, "to fit on"), *([(True, "to compare texts with")] if self.generate else [])):
            found = part(self.debate.items, self.held, test=test)
            if missing := set(self.debate.agents) - set(found.frame["agent"].astype(str)):
                raise DataError(
                    f"No item of agent {min(missing)!r} is left {what}; give items of every group and round."
                )
        for test in (False, True):
            self.rows("speak", test=test)
            for kind in self.kinds if self.debate.trait is not None else []:
                self.rows("trait", test=test, kind=kind)
                if self.debate.answers is not None:
                    self.rows("answers", test=test, kind=kind)
        if self.debate.system is not None:
            labels = part(self.debate.system, self.held, test=False).labels
            if set(labels.tolist()) != {0, 1}:
                raise DataError("system= needs rows of both labels among the groups that are not held out.")

    @cached_property
    def held(self) -> set[str]:
        return self.debate.held(self.seed)

    @cached_property
    def vectors(self) -> AgentVectors:
        return self.fitted(self.model)

    def fitted(self, model: Model) -> AgentVectors:
        """Vectors of the first round of the groups that are not held out."""
        rows = part(self.debate.items, self.held, test=False)
        return agent_vectors(model, rows, sites=self.places, span=self.span, progress=self.progress)

    def diagnostics(self) -> pd.DataFrame:
        """See `AgentVectors.diagnostics`. Vectors are of the first round: those of later ones, of the same groups, are
        made for `across_rounds` alone, which is left out where there is but one round."""
        table, items = self.vectors.diagnostics(), self.debate.items
        rows = items.select(~np.isin(items.groups.astype(str), sorted(self.held)))
        if rows.frame["round"].nunique() < 2:
            return table.drop(columns="across_rounds")
        every = agent_vectors(self.model, rows, sites=self.places, span=self.span, progress=self.progress)
        across = every.diagnostics()["across_rounds"]
        return table.drop(columns="across_rounds") if across.isna().all() else table.assign(across_rounds=across)

    def rows(self, name: str, *, test: bool, kind: str | None = None) -> Examples:
        """Validation or test rows of a table; of one kind, by default the first."""
        key = name, test, kind
        if key not in self.parts:
            table: Examples = getattr(self.debate, name)
            chosen = of_kind(table, kind or self.kinds[0]) if name in ("trait", "answers") else table
            self.parts[key] = part(chosen, self.held, test=test)
        return self.parts[key]

    @cached_property
    def kinds(self) -> list[str]:
        return ["all"] if self.debate.trait is None else kinds(self.debate.trait)

    @property
    def doses(self) -> list[float]:
        return [0.0, *self.strengths]

    @property
    def middle(self) -> float:
        """The strength at which sites are compared: the one nearest to the whole difference."""
        return min(self.strengths, key=lambda one: abs(one - 1))

    def home(self, site: Site) -> Site:
        """Where a vector is added: where it was read, or at the input of that block, as the published code does."""
        return Site("resid_pre", site.layer) if self.paper_offset else site

    def flat(self, vectors: AgentVectors, agent: str) -> bool:
        """Whether an agent's vector is rounding at every site: there is none."""
        number = vectors.agents.index(agent)
        return all(float(vectors.raw(s)[number].norm()) <= ROUNDING * vectors.residual[s] for s in vectors.sites)

    def pushes(self, vector: Float[Tensor, " d"], site: Site, strengths: Sequence[float]) -> list[Push]:
        return [Push(self.home(site), strength * vector) for strength in strengths]

    def said(self, rows: Examples, pushes: Sequence[Push], model: Model | None = None) -> tuple[Any, Any]:
        label = "Steering agents"
        return spoken(model or self.model, self.debate, rows, pushes, label=label, progress=self.progress)

    def answers(self, rows: Examples, pushes: Sequence[Push], model: Model | None = None) -> tuple[Any, Any]:
        return right(model or self.model, rows, pushes, label="Asking beside", progress=self.progress)

    def chosen_sites(
        self, vectors: AgentVectors, validation: Examples, agents: Sequence[str], sign: float, model: Model
    ) -> dict[str, Site]:
        """For every agent the site at which its vector moves its own words most, on validation rows."""
        raw = {site: vectors.raw(site) for site in vectors.sites}
        numbers = [vectors.agents.index(agent) for agent in agents]
        pushes = [Push(self.home(s), sign * self.middle * raw[s][number]) for number in numbers for s in raw]
        own, _ = self.said(validation, pushes, model)
        heights = sign * own.mean(axis=1).reshape(len(numbers), len(raw), -1)
        return {
            agent: vectors.sites[int(heights[place, :, number].argmax())]
            for place, (agent, number) in enumerate(zip(agents, numbers, strict=True))
        }

    def faithful(self, model: Model, vectors: AgentVectors) -> pd.DataFrame:
        """P of every agent's words on test rows under every agent's vector: one row per agent whose vector is added,
        site, strength and test row; `chosen`: whether the site is the one chosen on validation rows."""
        test = self.rows("speak", test=True)
        chosen = self.chosen_sites(vectors, self.rows("speak", test=False), self.debate.agents, 1.0, model)
        pushes, names = [], []
        for number, agent in enumerate(self.debate.agents):
            for site in vectors.sites:
                pushes += self.pushes(vectors.raw(site)[number], site, self.doses)
                names += [(agent, str(site), strength, chosen[agent] == site) for strength in self.doses]
        own, mass = self.said(test, pushes, model)
        return self._long(names, ["agent", "site", "strength", "chosen"], own, mass, test)

    def suppressed(self) -> pd.DataFrame:
        """P of every agent's words and of the right answer under the bad agent's vector, subtracted, at the site where
        that takes most of its words on validation rows: one row per part, strength and row; strengths are negative."""
        bad, vectors = str(self.debate.bad), self.vectors
        validation = self.rows("trait", test=False)
        site = self.chosen_sites(vectors, validation, [bad], -1.0, self.model)[bad]
        vector = vectors.raw(site)[vectors.agents.index(bad)]
        doses = [-one for one in self.doses]
        pushes, parts = self.pushes(vector, site, doses), []
        for test in (False, True):
            names: list[tuple[Any, ...]] = [(test, str(site), one + 0.0) for one in doses]
            rows = self.rows("trait", test=test)
            own, mass = self.said(rows, pushes)
            parts.append(self._long(names, ["test", "site", "strength"], own, mass, rows).assign(what="trait"))
            if self.debate.answers is not None:
                rows = self.rows("answers", test=test)
                share, mass = self.answers(rows, pushes)
                table = self._long(names, ["test", "site", "strength"], share[..., None], mass, rows, ["right"])
                parts.append(table.assign(what="answers"))
        return pd.concat(parts, ignore_index=True)

    def null(self, kind: str) -> pd.DataFrame:
        """See `Null.table`."""
        names = ["speak"] + (["trait"] if self.debate.trait is not None else [])
        rows = {name: (self.rows(name, test=False), self.rows(name, test=True)) for name in names}
        homes = {site: self.home(site) for site in self.vectors.sites}
        run = Null(self.model, self.debate, self.vectors, self.strengths, self.middle, homes, self.progress)
        return run.table(kind, self.draws, self.seed, rows)

    def areas(self, faithful: pd.DataFrame, agent: str, *, chosen: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Of every test row, the area of the agent's own words under its own vector; and the rows' groups."""
        mine = faithful[(faithful["agent"] == agent) & (faithful["chosen"] | (not chosen))]
        wide = mine.pivot(index="row", columns="strength", values=f"p_{agent}")
        groups = mine.drop_duplicates("row").set_index("row").loc[wide.index, "group"]
        return area(wide[self.doses].to_numpy(dtype=float), self.doses), groups.to_numpy(dtype=object)

    def curve(self, table: pd.DataFrame, column: str, by: Sequence[str]) -> pd.DataFrame:
        """Mean and interval of a column, and the mean probability of all words, over the rows of each cell."""
        rows = []
        for key, cell in table.groupby(list(by), sort=False):
            found = summary(cell[column].to_numpy(dtype=float), cell["group"].to_numpy(dtype=object), seed=self.seed)
            names = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
            rows.append(names | found | {"coherence": float(cell["mass"].mean()), "n": len(cell)})
        return pd.DataFrame(rows)

    def _long(
        self,
        names: Sequence[tuple[Any, ...]],
        columns: Sequence[str],
        own: Float[np.ndarray, "m n k"],
        mass: Float[np.ndarray, "m n"],
        rows: Examples,
        of: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        n = len(rows)
        table = pd.DataFrame(np.repeat(np.array(names, dtype=object), n, axis=0), columns=list(columns))
        table["strength"] = table["strength"].astype(float)
        for name in {"chosen", "test"} & set(columns):
            table[name] = table[name].astype(bool)
        table["row"] = np.tile(np.arange(n), len(names))
        table["group"] = np.tile(rows.groups.astype(str), len(names))
        for number, name in enumerate(of or [f"p_{agent}" for agent in self.debate.agents]):
            table[name] = own[..., number].ravel()
        return table.assign(mass=mass.ravel())
