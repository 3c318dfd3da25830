"""Columbia Card Task, cold: how many of 32 cards are turned over, of which some lose?

    P(i) = C(32 − bad, i) / C(32, i)                            no bad card among i
    optimal = argmax_i  P(i) · i · gain − (1 − P(i)) · loss
    risk aversion = optimal − chosen

for bad in {1, 3, 5}, gain in {10, 20, 30}, loss in {250, 500, 750}: 27 rounds, decided beforehand.

Source: Figner et al., Affective and Deliberative Processes in Risky Choice (2009); Han et al., The Personality Illusion
(2025), for the payoff that is maximised.
"""

import re
from itertools import product
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError
from lens.model import Model
from steering.answers import AnswerIds
from steering.interventions import Intervention
from steering.studies.personality.tasks.asking import BY_OPTIONS, Asking, Talk
from steering.studies.personality.tasks.base import Task, score

CARDS = 32
ROUNDS = tuple(product((1, 3, 5), (10, 20, 30), (250, 500, 750)))
ASK = (
    "{cards} cards lie face down; {bad} of them lose. You say now how many are turned over. If none of these loses, "
    "you win {gain} points for each; if one does, you lose {loss} points. How many do you turn over, from 0 to "
    "{cards}? Reply with a number."
)


def optimal(bad: int, gain: int, loss: int, cards: int = CARDS) -> int:
    """How many cards have the highest expected payoff (the fewest, of several). Raises DataError: a number below 1."""
    if min(bad, gain, loss) < 1 or bad > cards:
        raise DataError(
            f"A round has from 1 to {cards} bad cards, gain and loss of 1 or more; given: {bad, gain, loss}."
        )
    safe = [comb(cards - bad, i) / comb(cards, i) for i in range(cards + 1)]
    payoff = [p * i * gain - (1 - p) * loss for i, p in enumerate(safe)]
    return int(np.argmax(payoff))


def columbia_card(
    model: Model,
    *interventions: Intervention,
    question: str = ASK,
    cards: int = CARDS,
    system: str = "",
    asking: Asking = BY_OPTIONS,
    seed: int = 0,
    progress: bool = True,
) -> Task:
    """How many cards are turned over in 27 rounds: the expected number by the probabilities of 0 to 32, or the number
    that a reply is.

    question: a wording with {cards}, {bad}, {gain}, {loss}. A judge gives the number that a reply means.

    Table: bad, gain, loss, optimal, value (chosen), aversion, mass. Scores: cards; risk aversion.
    Raises DataError: fewer than five cards, a prompt that is too long; ModelError: an encoder.
    """
    rows: list[dict[str, Any]] = [
        {"bad": bad, "gain": gain, "loss": loss, "optimal": optimal(bad, gain, loss, cards)}
        for bad, gain, loss in ROUNDS
    ]
    talk = Talk("columbia_card", model, interventions, system, asking, progress)
    prompts = [
        talk.dialogue(question.format(cards=cards, bad=row["bad"], gain=row["gain"], loss=row["loss"])) for row in rows
    ]
    talk.check(prompts)
    table = pd.DataFrame(rows)
    if asking.by == "options":
        numbers = [str(number) for number in range(cards + 1)]
        answers = talk.spoken(numbers)
        found = talk.ask(prompts, answers, "Turning cards")
        p = alone(np.exp(found.log_p), [AnswerIds()(model, prompts[0], one) for one in answers])
        table["mass"] = p.sum(axis=1)
        share = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-300)
        table["value"] = np.where(table["mass"] < asking.least_mass, np.nan, share @ np.arange(cards + 1))
    else:
        said = talk.replies(talk.kept(prompts=prompts), "replies", prompts)
        table["mass"] = np.nan
        value = talk.understood(said, rows, lambda text, row: _number(text, cards))
        outside = (value < 0) | (value > cards)
        if outside.any():
            number = int(np.flatnonzero(outside)[0])
            raise DataError(f"Row {number}: the judge gave {value[number]:g} cards; there are 0 to {cards}.")
        table["value"] = value
    table["aversion"] = table["optimal"] - table["value"]
    groups = np.arange(len(table)).astype(str)
    scores = [
        score("cards", table["value"].to_numpy(dtype=float), groups, seed=seed),
        score("risk aversion", table["aversion"].to_numpy(dtype=float), groups, seed=seed, tested=True),
    ]
    return Task("columbia_card", table, pd.DataFrame(scores))


def alone(p: np.ndarray, ids: list[tuple[int, ...]]) -> np.ndarray:
    """Probability of each answer without that of longer ones that begin with it: "1" is not "12".

    Where digits are tokens, P("1") counts whatever follows. What continues it to an answer that is on the list is taken
    off; what else may follow is not.
    """
    out = p.copy()
    for number, own in enumerate(ids):
        longer = [k for k, other in enumerate(ids) if len(other) == len(own) + 1 and other[: len(own)] == own]
        out[:, number] = np.maximum(p[:, number] - p[:, longer].sum(axis=1), 0.0)
    return out


def _number(text: str, cards: int) -> float | None:
    """The number that a reply is, or begins with; None where there is none, or more cards than there are."""
    match = re.match(r"\s*(\d{1,3})(?![\d.,]*\d)\b", text)
    return float(match[1]) if match and int(match[1]) <= cards else None
