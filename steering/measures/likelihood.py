"""Likelihood: how probable a text is to the model, and how far steering moves its predictions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from lens.errors import DataError
from lens.tokens import Row
from steering.divergence import continued, divergence, divergence_of_texts, of_responses
from steering.measures.base import Measure, Outcome
from steering.measures.texts import generated


def log_probability(
    response: str = "response", *, reduce: Literal["mean", "sum"] = "mean", name: str | None = None
) -> Measure:
    """Log-probability of a given text after the prompt, under the steered model, in nats.

        sum = Σ_t log p(y_t | prompt, y_<t),     mean = sum / number of tokens

    response: the column that holds the text (missing where it is empty). The mean compares texts of different
    lengths; the sum is the probability of the whole.
    """
    if reduce not in ("mean", "sum"):
        raise DataError(f"Unknown reduce {reduce!r}; available: mean, sum.")

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        if outcome.tokens is None:
            raise DataError("A likelihood measure needs the tokens of prompts and responses.")
        with outcome.steered():
            total, count = _totals(outcome, outcome.tokens)
        return total / count if reduce == "mean" else np.where(count > 0, total, np.nan)

    label = name or f"{reduce} log P({response})"
    return Measure(label, "model", value, response=response, given={"reduce": reduce})


def perplexity(response: str | None = None, *, name: str | None = None, max_new_tokens: int = 32) -> Measure:
    """Perplexity of a text, `exp(−mean log p(y_t | prompt, y_<t))`: 1, certain; the size of the vocabulary, a guess.

    Of what the steered model says, under the unsteered one: how strange the text is. Or, with `response`, of the text
    in that column under the steered model: how much it has come to dislike it. A cut-off text counts; an empty one is
    missing. Means are dominated by the worst rows: compare medians, or `log_probability`.

    Source: Jelinek et al., Perplexity: a Measure of the Difficulty of Speech Recognition Tasks (1977).
    """
    if response is not None:
        given = log_probability(response)
        return Measure(name or f"perplexity of {response}", "model", lambda o: np.exp(-given(o)), response=response)

    def value(outcome: Outcome) -> Float[np.ndarray, " n"]:
        total, count = _totals(outcome, continued(outcome.model, outcome.prompts, generated(outcome)))
        return np.exp(-total / count)

    return Measure(name or "perplexity", "text", value, max_new_tokens=max_new_tokens)


def kl(over: Literal["next", "generated"] = "next", *, name: str | None = None, max_new_tokens: int = 32) -> Measure:
    """How far steering moves predictions: divergence of the steered from the unsteered model, in nats.

        KL(p ‖ q) = Σ_v p(v) (log p(v) − log q(v)),     p steered, q unsteered

    over `next`: of the token after the prompt. Over `generated`: the mean over the tokens of what the steered model
    says, each given the same text before it (missing where it says nothing). Unsteered is the model as it is without
    the interventions that are measured: inside `steering.apply`, or with edited weights, the steered or edited one.

    Source: Kullback and Leibler, On Information and Sufficiency (1951).
    """
    if over not in ("next", "generated"):
        raise DataError(f"Unknown over {over!r}; available: next, generated.")

    def following(outcome: Outcome) -> Float[np.ndarray, " n"]:
        out = np.full(len(outcome.rows), np.nan)
        for batch in outcome.batches():
            plain = outcome.model.next_token_logits(batch)
            with outcome.steered():
                steered = outcome.model.next_token_logits(batch)
            out[batch.rows.cpu().numpy()] = divergence(steered, plain).cpu().numpy()
        return out

    def throughout(outcome: Outcome) -> Float[np.ndarray, " n"]:
        return divergence_of_texts(
            outcome.model,
            outcome.prompts,
            generated(outcome),
            *outcome.interventions,
            batch_tokens=outcome.batch_tokens,
            other_model=outcome.other_model,
        )

    if over == "next":
        return Measure(name or "KL of the next token", "model", following)
    return Measure(name or "KL per token", "text", throughout, max_new_tokens=max_new_tokens)


def _totals(outcome: Outcome, rows: Sequence[Row]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Sum of the log-probabilities of each response's tokens under the model as it now is, and their number (nan for
    none)."""
    total, count = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for batch in outcome.batches(rows):
        chosen, answer = of_responses(outcome.model, batch)
        held, numbers = answer.sum(dim=1), batch.rows.cpu().numpy()
        total[numbers] = chosen.double().sum(dim=1).cpu().numpy()
        count[numbers] = torch.where(held > 0, held.double(), torch.nan).cpu().numpy()
    return total, count
