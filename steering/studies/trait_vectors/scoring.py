"""The signed trait score: log-odds of the words of one pole against those of the other.

    score = log Σ P(high) − log Σ P(low),        coherence = Σ P(high) + Σ P(low) + Σ P(others)

Where logits are linear in a direction, so is the score: it has no bounds, adds up, and can be held against what the
Gram matrix predicts. Probabilities saturate. Above 0, the high pole: which pole, not only which trait.
"""

from collections.abc import Sequence
from weakref import ReferenceType, ref

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import DataError
from steering.answers import AnswerIds
from steering.measures.base import Measure, Outcome, TableRow, filled

Words = str | Sequence[str]


def trait_score(
    high: Words = "{high}", low: Words = "{low}", *, others: Words = (), name: str = "trait score"
) -> Measure:
    """Log-odds of the high pole's words against the low pole's, by the next token.

    Each side is a word or several; `"{column}"` takes a row's own. others: words of neither pole that are answers, too:
    they count for coherence alone. Only the first token of each word counts.

    Raises DataError: a pole without a word, a missing column, words of two poles that begin with the same token.
    """
    sides = [[one] if isinstance(one, str) else list(one) for one in (high, low, others)]
    if not sides[0] or not sides[1]:
        raise DataError(f"Both poles need a word; given: {high!r} against {low!r}.")
    answer_ids = AnswerIds()

    def ids_of(outcome: Outcome, row: TableRow, number: int) -> list[list[int]]:
        ids = [
            {answer_ids(outcome.model, row["prompt"], word)[0] for word in filled(side, row)} if side else set()
            for side in sides
        ]
        if ids[0] & ids[1] or (ids[0] | ids[1]) & ids[2] or not ids[0] or not ids[1]:
            words = [filled(side, row) for side in sides if side]
            raise DataError(
                f"Row {number}: of the words {words}, two poles begin with the same token, or one is empty."
            )
        return [sorted(one) for one in ids]

    last: list[tuple[ReferenceType[Outcome], Float[Tensor, "3 n"]]] = []

    def log_masses(outcome: Outcome) -> Float[Tensor, "3 n"]:
        """Asked twice of each outcome: for the score, and for coherence."""
        if not last or last[0][0]() is not outcome:
            last[:] = [(ref(outcome), masses_of(outcome))]
        return last[0][1]

    def masses_of(outcome: Outcome) -> Float[Tensor, "3 n"]:
        if outcome.logits is None:
            raise DataError("A trait score needs next-token logits.")
        logits = outcome.logits.float()
        total = torch.logsumexp(logits, dim=-1).double().cpu()
        out = torch.full((3, len(outcome.rows)), -torch.inf, dtype=torch.float64)
        # A row that is run many times is one object.
        places: dict[int, list[int]] = {}
        for number, row in enumerate(outcome.rows):
            places.setdefault(id(row), []).append(number)
        for numbers in places.values():
            for side, ids in enumerate(ids_of(outcome, outcome.rows[numbers[0]], numbers[0])):
                if ids:
                    # No copy of the logits: they are as wide as the vocabulary.
                    few = torch.stack([logits[numbers, one] for one in ids], dim=1).double().cpu()
                    out[side, numbers] = torch.logsumexp(few, dim=1) - total[numbers]
        return out

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        top, bottom, _ = log_masses(outcome)
        return (top - bottom).numpy()

    def coherence(outcome: Outcome) -> Float[np.ndarray, " n"]:
        return log_masses(outcome).exp().sum(dim=0).numpy()

    given = dict(zip(("high", "low", "others"), sides, strict=True))
    return Measure(name, "logits", value, coherence, given=given)
