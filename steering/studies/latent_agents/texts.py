"""Texts: how much of what an agent really said is in what the model writes under its vector.

    faithfulness(α) = mean over held-out items of ROUGE F( text written after c under α v_i , r_i )

Greedy; texts that are empty, without a word, or cut off are missing, and counted. The published runs sample at
temperature .7.

Source: Latent Agents / IMAD (arXiv 2604.24881), 2026.
"""

import numpy as np
import pandas as pd
import torch

from lens.generation import Generation, generate
from steering.apply import apply
from steering.studies.latent_agents.debate import part
from steering.studies.latent_agents.doses import area, summary
from steering.studies.latent_agents.rouge import rouge
from steering.studies.latent_agents.study import Study
from steering.studies.steps import Steps

SCORES = ("rouge1", "rouge2", "rougeL")


def texts(study: Study, sites: dict[str, str]) -> pd.DataFrame:
    """What is written on held-out items, a row for every agent, arm (its vector, or a random one as long), strength
    and item, with its scores; nan where the text is missing. sites: of every agent."""
    items = part(study.debate.items, study.held, test=True).frame
    rows = []
    for number, agent in enumerate(study.debate.agents):
        mine = items[items["agent"].astype(str) == agent]
        site = next(one for one in study.vectors.sites if str(one) == sites[agent])
        vector = study.vectors.raw(site)[number]
        random = torch.from_numpy(np.random.default_rng(study.seed).standard_normal(len(vector))).float()
        for arm, one in (("vector", vector), ("random", random / random.norm() * vector.norm())):
            for strength in study.doses:
                with apply(study.model, Steps(strength * one[None], sites=(study.home(site),))):
                    made = generate(study.model, list(mine["prompt"]), max_new_tokens=study.generate)
                rows += [
                    {
                        "agent": agent,
                        "arm": arm,
                        "strength": strength,
                        "row": k,
                        "group": str(group),
                        **_scored(text, own),
                    }
                    for k, (text, own, group) in enumerate(zip(made, mine["positive"], mine["group"], strict=True))
                ]
    return pd.DataFrame(rows)


def _scored(made: Generation, reference: str) -> dict[str, float | bool]:
    whole = bool(made.text.strip()) and made.finished
    scores = rouge(made.text, reference) if whole else dict.fromkeys(SCORES, np.nan)
    # Where either text holds no word there is no score.
    return {**scores, "missing": bool(np.isnan(scores["rouge1"]))}


def text_areas(study: Study, written: pd.DataFrame) -> pd.DataFrame:
    """The area over strengths of every score, over items written at every strength; how many texts are missing."""
    rows = []
    for (agent, arm), cell in written.groupby(["agent", "arm"], sort=False):
        for score in SCORES:
            wide = cell.pivot(index="row", columns="strength", values=score)[study.doses].dropna()
            row = {"agent": agent, "arm": arm, "score": score, "value": np.nan, "low": np.nan, "high": np.nan}
            if len(wide):
                groups = cell.drop_duplicates("row").set_index("row").loc[wide.index, "group"].to_numpy(dtype=object)
                row |= summary(area(wide.to_numpy(dtype=float), study.doses), groups, seed=study.seed)
            rows.append(row | {"n": len(wide), "missing": int(cell["missing"].sum()), "texts": len(cell)})
    return pd.DataFrame(rows)
