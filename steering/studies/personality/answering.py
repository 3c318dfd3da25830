"""Answering: how a model rates each item, in both orders of the options and in every wording of the question.

    p = softmax over the options alone,     EV = Σ_o score(o) p(o),     mass = Σ_o P(o)

The expected value tells apart what the likeliest option does not; both stand in the table. An answer is missing where
the options have almost no probability (`mass`), or where one has nearly all of it in nearly every question of a trait
(`lock`): such a model does not weigh the options.

Source: Serapio-García et al., Personality Traits in Large Language Models (2023; option log-probabilities); Lee et al.,
TRAIT (2024; both orders averaged). The bounds of what is missing are ours.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.examples import Prompt
from lens.model import Model
from steering.interventions import Intervention
from steering.studies.ask import ask
from steering.studies.imbued import chats, imbued, takes_system
from steering.studies.personality.inventory import Inventory

LEAST_MASS = 0.1
LOCKED, NEARLY_ALL = 0.99, 0.95


def questions(
    model: Model, inventory: Inventory, texts: Sequence[str]
) -> tuple[pd.DataFrame, list[Prompt], list[list[str]]]:
    """What is asked: a row for every text (its number), template, item and order; the prompts; and their answers."""
    chat, system = chats(model), takes_system(model)
    rows: list[tuple[int, int, int, int]] = []
    prompts: list[Prompt] = []
    answers: list[list[str]] = []
    for text, before in enumerate(texts):
        for template in range(len(inventory.templates)):
            for item, words in enumerate(inventory.items["text"]):
                for order, printed in enumerate(inventory.orders):
                    rows.append((text, template, item, order))
                    prompts.append(
                        imbued(inventory.question(words, template, printed, chat=chat), before, system=system)
                    )
                    answers.append(inventory.answers(printed, chat=chat))
    return pd.DataFrame(rows, columns=["text", "template", "item", "order"]), prompts, answers


def administer(
    model: Model,
    inventory: Inventory,
    texts: Sequence[str] = ("",),
    *interventions: Intervention,
    least_mass: float = LEAST_MASS,
    progress: bool = True,
) -> pd.DataFrame:
    """The answer to every item after every text, as `questions` lists them, under the interventions.

    ev: the expected score (not keyed); likeliest: that of the likeliest option; entropy: of the options, in nats;
    top: the probability of the likeliest among them; mass: all options' probability; missing: why, or nothing.
    """
    rows, prompts, answers = questions(model, inventory, texts)
    found = ask(model, prompts, answers, *interventions, label=f"Asking {inventory.name}", progress=progress)
    return judge_cells(rows, inventory, found.share, found.mass, least_mass=least_mass).assign(by=found.by)


def judge_cells(
    rows: pd.DataFrame,
    inventory: Inventory,
    share: Float[np.ndarray, "n k"],
    mass: Float[np.ndarray, " n"],
    *,
    least_mass: float = LEAST_MASS,
) -> pd.DataFrame:
    """Answers as a table, with what is missing."""
    scores = np.array(list(inventory.scale.values()))
    table = rows.assign(
        ev=share @ scores,
        likeliest=scores[share.argmax(axis=1)],
        entropy=-(share * np.log(np.maximum(share, 1e-300))).sum(axis=1),
        top=share.max(axis=1),
        mass=mass,
    )
    trait = inventory.items["trait"].to_numpy()[table["item"]]
    locked = (table["top"] > LOCKED).groupby([table["text"], trait]).transform("mean") >= NEARLY_ALL
    table["missing"] = np.where(mass < least_mass, "mass", np.where(locked, "lock", ""))
    return table


def ratings(answers: pd.DataFrame, inventory: Inventory, *, column: str = "ev") -> Float[np.ndarray, "texts items"]:
    """One rating for each text and item: the mean over orders, and of that over templates; nan where none is left.

    A template in which one order is missing does not count: half of an average over orders is a bias.
    """
    value = answers[column].where(answers["missing"] == "")
    cells = value.groupby([answers["text"], answers["template"], answers["item"]])
    both = cells.mean().where(cells.count() == len(inventory.orders))
    wide = both.groupby(level=[0, 2]).mean().unstack()
    return wide.reindex(columns=range(len(inventory))).to_numpy(dtype=float)


def keyed(values: Float[np.ndarray, "texts items"], inventory: Inventory) -> Float[np.ndarray, "texts items"]:
    """Ratings turned round where the item's key is −1."""
    turned = 2 * inventory.middle - values
    return np.where(inventory.items["key"].to_numpy() == 1, values, turned)
