"""Ask: how probable a model finds each of several answers that are known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from lens.errors import DataError, ModelError, available
from lens.model import Model
from lens.progress import bar
from lens.tokens import batches
from steering.answers import AnswerIds
from steering.apply import apply
from steering.divergence import of_responses
from steering.interventions import Intervention

By = Literal["next token", "whole answer"]
WHOLE = "An answer is more than one token, or two begin alike: answers were scored whole, by the sum over their tokens."


@dataclass(frozen=True, eq=False)
class Answers:
    """log_p[i, k]: log-probability of answer k after prompt i; by: of its only token, or summed over its tokens."""

    log_p: Float[np.ndarray, "n k"]
    by: By

    @property
    def share(self) -> Float[np.ndarray, "n k"]:
        """Probability of each answer among those given: p_k / Σ_j p_j."""
        top = np.exp(self.log_p - self.log_p.max(axis=1, keepdims=True))
        return top / top.sum(axis=1, keepdims=True)

    @property
    def mass(self) -> Float[np.ndarray, " n"]:
        """Probability left on the answers: Σ_k p_k."""
        return np.exp(self.log_p).sum(axis=1)

    @property
    def log_odds(self) -> Float[np.ndarray, " n"]:
        """log p_0 − log p_1, of two answers."""
        return self.log_p[:, 0] - self.log_p[:, 1]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of how they were scored."""
        return (WHOLE,) if self.by == "whole answer" else ()


def ask(
    model: Model,
    prompts: Sequence[Any],
    options: Sequence[str] | Sequence[Sequence[str]],
    *interventions: Intervention,
    batch_tokens: int = 8192,
    label: str = "Asking",
    progress: bool = True,
    other_model: bool = False,
) -> Answers:
    """The log-probability of each option as the answer to each prompt, under the interventions.

        one token each    log p(o | prompt)
        otherwise         Σ_t log p(o_t | prompt, o_<t)

    options: the same for every prompt, or as many for each. Where every option is one token and no two are the same,
    one pass over the prompts is enough; otherwise every option is run after every prompt, and `by` says so.

    Raises DataError: no prompts, fewer than two options, an empty one, a prompt longer than the context.
    ModelError: an encoder.
    """
    if model.is_encoder:
        raise ModelError(f"{model.name} is an encoder: it answers nothing.")
    each = _each(prompts, options)
    answer_ids = AnswerIds()
    ids = [[answer_ids(model, prompt, one) for one in few] for prompt, few in zip(prompts, each, strict=True)]
    single = all(len(one) == 1 for row in ids for one in row) and all(len(set(row)) == len(row) for row in ids)
    width, out = len(each[0]), np.full((len(prompts), len(each[0])), np.nan)
    if single:
        rows = model.rows(prompts)
    else:
        rows = model.rows([one for one in prompts for _ in range(width)], [option for few in each for option in few])
    plan = batches(rows, tokens=batch_tokens, pad_id=model.pad_id, padding_side="left")
    with bar(label, total=len(rows), shown=progress) as advance:
        for batch in plan:
            numbers = batch.rows.numpy()
            owner = numbers if single else numbers // width
            here = replace(batch, rows=torch.from_numpy(owner), total=len(prompts)).to(model.device)
            with apply(model, *interventions, other_model=other_model):
                if single:
                    log_p = torch.log_softmax(model.next_token_logits(here).double(), dim=-1).cpu().numpy()
                    for place, number in enumerate(numbers):
                        out[number] = log_p[place, [one[0] for one in ids[number]]]
                else:
                    chosen, _ = of_responses(model, here)
                    out.reshape(-1)[numbers] = chosen.double().sum(dim=1).cpu().numpy()
            advance(len(numbers))
    return Answers(out, "next token" if single else "whole answer")


def _each(prompts: Sequence[Any], options: Sequence[Any]) -> list[list[str]]:
    if not len(prompts):
        raise DataError("There are no prompts to ask.")
    shared = all(isinstance(one, str) for one in options)
    each = [list(options)] * len(prompts) if shared else [list(few) for few in options]
    if len(each) != len(prompts):
        raise DataError(f"{len(prompts)} prompts need as many lists of options; given: {len(each)}.")
    for number, few in enumerate(each):
        if len(few) < 2 or len(few) != len(each[0]) or not all(isinstance(one, str) and one for one in few):
            raise DataError(
                f"Row {number}: options {available(few)}; each row needs at least two, as many as row 0, none empty."
            )
        if len(set(few)) < len(few):
            raise DataError(f"Row {number}: options {available(few)}; two are the same.")
    return each
