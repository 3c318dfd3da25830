"""Options: what the next token says of answers that are known beforehand."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from lens.errors import DataError, available
from lens.examples import Prompt
from steering.answers import AnswerIds
from steering.measures.base import Measure, Outcome, TableRow, filled

Orders = Literal["reversed", "rotations", "all"]
_PRINTED = "__options__"


def option(positive: str | Sequence[str], negative: str | Sequence[str], *, name: str | None = None) -> Measure:
    """Probability of one answer against another, from the logits of the next token.

        P(positive) / (P(positive) + P(negative))

    Each side is a text or several. `"{column}"` takes the text (or list of texts) from that column of the row, so
    that the right and the wrong answer may differ by row. Only the first token of each text counts; coherence is
    P(positive) + P(negative), the probability mass left on the options.

    Raises DataError: options that share their first token, or a missing column.
    """
    sides = [[text] if isinstance(text, str) else list(text) for text in (positive, negative)]
    if not all(sides):
        raise DataError(f"Both sides need an option; given: {positive!r} against {negative!r}.")
    answer_ids = AnswerIds()

    def masses(outcome: Outcome) -> Float[np.ndarray, "2 n"]:
        probability = _probabilities(outcome)
        out = np.zeros((2, len(outcome.rows)))
        for number, row in enumerate(outcome.rows):
            ids = [{answer_ids(outcome.model, row["prompt"], text)[0] for text in filled(side, row)} for side in sides]
            if ids[0] & ids[1]:
                raise DataError(
                    f"Row {number}: options {filled(sides[0], row)} and {filled(sides[1], row)} begin with the same "
                    "token and cannot be told apart by the next token."
                )
            for side, tokens in enumerate(ids):
                out[side, number] = float(probability[number, sorted(tokens)].sum())
        return out

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        high, low = masses(outcome)
        return high / (high + low)

    def coherence(outcome: Outcome) -> Float[np.ndarray, " n"]:
        return masses(outcome).sum(axis=0)

    label = name or f"P({'|'.join(sides[0])})"
    return Measure(label, "logits", value, coherence, given={"positive": sides[0], "negative": sides[1]})


def expected_value(
    scores: Mapping[str, float],
    *,
    prompt: Callable[[TableRow, list[str]], Prompt] | None = None,
    orders: Orders = "reversed",
    letters: Sequence[str] | None = None,
    key: str | None = None,
    name: str | None = None,
) -> Measure:
    """Expected score of the answer to a question with scored options, from the logits of the next token.

        EV = mean over orders of Σ_o score(o) · p(o),     p = softmax over the logits of the options alone

    In the unit of the scores: five options scored 1 to 5 give a rating from 1 to 5. A mean over the options tells apart
    what the likeliest option does not. Only the first token of an option counts; coherence is the probability mass left
    on the options.

    prompt(row, options): the question with its options printed in this order, asked once per order, which removes a
    preference for the first or the last. orders: `reversed` (as given, and the other way round), `rotations` (each
    option once in each place), or `all`. Without `prompt` the row's own is asked, once. letters: what is answered is
    the letter of the place where an option is printed, not the option itself. key: a column that is −1 where an item is
    reverse-keyed; EV is then min + max − EV.

    Raises DataError: fewer than two options or too few letters, options that share their first token, a key that is
    neither 1 nor −1, an unknown choice of orders.

    Source: Serapio-García et al., Personality Traits in Large Language Models (2023; option log-probabilities); Lee et
    al., Do LLMs Have Distinct and Consistent Personality? TRAIT (2024; both orders averaged).
    """
    options = list(scores)
    if len(options) < 2 or (letters is not None and len(letters) < len(options)):
        raise DataError(f"At least two options, each with a letter; given: {available(options)}; letters: {letters}.")
    printed, answer_ids = _orders(options, orders), AnswerIds()

    def variants(row: TableRow) -> list[TableRow]:
        assert prompt is not None
        return [row | {"prompt": prompt(row, list(order)), _PRINTED: list(order)} for order in printed]

    def ids(outcome: Outcome, number: int) -> list[int]:
        row = outcome.rows[number]
        if prompt is not None and _PRINTED not in row:
            raise DataError(
                f"Row {number}: this measure asks several prompts a row; give it the rows of measure.asked."
            )
        places = {option: place for place, option in enumerate(row.get(_PRINTED, options))}
        answers = [option if letters is None else letters[places[option]] for option in options]
        found = [answer_ids(outcome.model, row["prompt"], answer)[0] for answer in answers]
        if len(set(found)) < len(found):
            raise DataError(f"Row {number}: of the options {answers}, two begin with the same token.")
        return found

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        logits, number_of = _probabilities(outcome).log(), np.array([scores[option] for option in options], dtype=float)
        out = np.zeros(len(outcome.rows))
        for number, row in enumerate(outcome.rows):
            share = torch.softmax(logits[number, ids(outcome, number)].double(), dim=0).numpy()
            sign = 1 if key is None else _sign(row, key, number)
            rating = float(share @ number_of)
            out[number] = rating if sign == 1 else number_of.min() + number_of.max() - rating
        return out

    def coherence(outcome: Outcome) -> Float[np.ndarray, " n"]:
        probability = _probabilities(outcome)
        return np.array([float(probability[k, ids(outcome, k)].sum()) for k in range(len(outcome.rows))])

    label = name or f"EV({'|'.join(options)})"
    asked = None if prompt is None else variants
    given = {"scores": dict(scores), "prompt": prompt, "orders": orders, "letters": letters, "key": key}
    return Measure(label, "logits", value, coherence, variants=asked, given=given)


def _probabilities(outcome: Outcome) -> Float[torch.Tensor, "n vocab"]:
    if outcome.logits is None:
        raise DataError("An option measure needs next-token logits.")
    return torch.softmax(outcome.logits, dim=-1).cpu()


def _orders(options: list[str], orders: str) -> list[tuple[str, ...]]:
    known: dict[str, Callable[[], Iterable[tuple[str, ...]]]] = {
        "reversed": lambda: [tuple(options), tuple(options[::-1])],
        "rotations": lambda: [tuple(options[k:] + options[:k]) for k in range(len(options))],
        "all": lambda: permutations(options),
    }
    if orders not in known:
        raise DataError(f"Unknown orders {orders!r}; available: {available(known)}.")
    return list(known[orders]())


def _sign(row: TableRow, key: str, number: int) -> int:
    if key not in row or row[key] not in (1, -1):
        raise DataError(f"Row {number}: the key {key!r} is {row.get(key)!r}; it is 1, or −1 for a reverse-keyed item.")
    return int(row[key])
