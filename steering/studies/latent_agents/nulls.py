"""Nulls: what vectors do that owe nothing to the agents; each draw chooses its own best site, as the agents' do.

    shuffled    which response is the agent's own is drawn anew for every item of that agent: v* is made as v is, of as
                many items, and as short as chance leaves it. Valid where it does not matter who said what. Every
                agent has draws of its own: of fewer items, vectors are longer by chance.
    random      u = Σ_k g_k e_k,  g ~ N(0, 1),  e: how states after the same agent's words differ among themselves; as
                long as the longest of the agents' vectors. Valid where any direction in which states vary does the
                same. (Without such differences it is isotropic.)

An agent has to pass both. Isotropic directions are the weaker null: activations vary in few directions, and those move
a model most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from steering.studies.answered import Push
from steering.studies.latent_agents.debate import Debate
from steering.studies.latent_agents.doses import area, spoken
from steering.studies.latent_agents.vectors import ROUNDING, AgentVectors

KINDS = ("shuffled", "random")
SUPPRESSED = "suppressed"


def shuffled(vectors: AgentVectors, agent: int, draws: int, seed: int) -> dict[Site, Float[Tensor, "draws d"]]:
    """So many vectors of an agent's own items at every site; a draw is the same at all of them."""
    mine, width = np.flatnonzero(vectors.owner == agent), vectors.states[vectors.sites[0]].shape[1]
    chosen = np.random.default_rng([seed, agent]).integers(0, width, size=(draws, len(mine)))
    # As `raw`: the chosen response less the mean of the others, mean over items; all draws in one product.
    weights = (torch.from_numpy(np.eye(width)[chosen]) - 1 / width) * (width / (width - 1)) / len(mine)
    return {s: (weights.flatten(1) @ vectors.states[s][mine].double().flatten(0, 1)).float() for s in vectors.sites}


def random(vectors: AgentVectors, draws: int, seed: int) -> dict[Site, Float[Tensor, "draws d"]]:
    """So many vectors for any of the agents at every site; a draw is the same at all of them."""
    rng = np.random.default_rng(seed)
    items, width = vectors.states[vectors.sites[0]].shape[:2]
    weights = torch.from_numpy(rng.standard_normal((draws, items * width))).float()
    isotropic = torch.from_numpy(rng.standard_normal((draws, vectors.states[vectors.sites[0]].shape[2]))).float()
    found = {}
    for site in vectors.sites:
        spread = vectors.spread(site)
        flat = float(spread.norm(dim=1).max()) <= ROUNDING * vectors.residual[site]
        made = isotropic if flat else weights @ spread
        found[site] = made / made.norm(dim=1, keepdim=True) * vectors.raw(site).norm(dim=1).max()
    return found


@dataclass(frozen=True, eq=False)
class Null:
    """Draws on the rows of validation and test."""

    model: Model
    debate: Debate
    vectors: AgentVectors
    strengths: Sequence[float]
    middle: float
    homes: dict[Site, Site]
    progress: bool

    def table(self, kind: str, draws: int, seed: int, rows: dict[str, tuple[Examples, Examples]]) -> pd.DataFrame:
        """For every draw and agent, and for what suppresses: the site it chose, its area, and the height at every
        strength (`at_…`). rows: validation and test rows of `speak`, and of `trait` where there are any."""
        out = []
        for name, (validation, test) in rows.items():
            sign = -1.0 if name == "trait" else 1.0
            sites, columns = self.vectors.sites, self._columns(name)
            made, first_of = self._drawn(kind, draws, seed, list(columns.values()))
            count = len(made[sites[0]])
            pushes = [Push(self.homes[s], sign * self.middle * made[s][k]) for s in sites for k in range(count)]
            said, _ = self._spoken(validation, pushes, kind)
            heights = said.mean(axis=1).reshape(len(sites), count, -1)
            # Of every claim, the draws that are its own, and the site that each of them chose.
            own = {of: first_of[agent] + np.arange(draws) for of, agent in columns.items()}
            best = {of: (sign * heights[:, own[of], agent]).argmax(axis=0) for of, agent in columns.items()}
            wanted = sorted({(int(s), int(k)) for of in columns for s, k in zip(best[of], own[of], strict=True)})
            doses = [
                Push(self.homes[sites[s]], sign * a * made[sites[s]][k]) for s, k in wanted for a in self.strengths
            ]
            plain, _ = self._spoken(test, [Push(self.homes[sites[0]], torch.zeros(made[sites[0]].shape[1]))], kind)
            later, _ = self._spoken(test, doses, kind)
            curves = later.mean(axis=1).reshape(len(wanted), len(self.strengths), -1)
            place = {pair: number for number, pair in enumerate(wanted)}
            for of, agent in columns.items():
                for draw, (one, k) in enumerate(zip(best[of], own[of], strict=True)):
                    base = float(plain[0, :, agent].mean())
                    curve = np.r_[base, curves[place[int(one), int(k)], :, agent]]
                    height = base - curve if name == "trait" else curve
                    row = {"kind": kind, "draw": draw, "of": of, "site": str(sites[int(one)])}
                    row["value"] = float(area(height, [0.0, *self.strengths]))
                    out.append(
                        row | {f"at_{a:g}": float(h) for a, h in zip((0.0, *self.strengths), curve, strict=True)}
                    )
        return pd.DataFrame(out)

    def _drawn(
        self, kind: str, draws: int, seed: int, agents: Sequence[int]
    ) -> tuple[dict[Site, Float[Tensor, "all d"]], dict[int, int]]:
        """All vectors to try, and at which of them those of each agent begin; random ones are anybody's."""
        if kind == "random":
            return random(self.vectors, draws, seed), dict.fromkeys(agents, 0)
        each = [shuffled(self.vectors, agent, draws, seed) for agent in agents]
        made = {site: torch.cat([one[site] for one in each]) for site in self.vectors.sites}
        return made, {agent: draws * place for place, agent in enumerate(agents)}

    def _columns(self, name: str) -> dict[str, int]:
        if name == "trait":
            return {SUPPRESSED: self.debate.agents.index(str(self.debate.bad))}
        return {agent: number for number, agent in enumerate(self.debate.agents)}

    def _spoken(self, rows: Examples, pushes: Sequence[Push], kind: str) -> tuple[np.ndarray, np.ndarray]:
        return spoken(self.model, self.debate, rows, pushes, label=f"Null, {kind}", progress=self.progress)
