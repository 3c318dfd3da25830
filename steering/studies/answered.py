"""Answered: how probable known answers are under many vectors, each added to the residual stream in turn.

    log p(o | prompt; h_site ← h_site + u),     for every vector u, from the last prompt token on

Nulls need hundreds of vectors: what every prompt shares is run once, and each row of a batch carries its own vector.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import DataError, available
from lens.model import Model
from lens.progress import bar
from lens.sites import Site
from steering.answers import AnswerIds
from steering.studies.ask import ask
from steering.studies.steps import Steps, stepped

# So many copies of prompts at once, where answers are scored whole.
ROWS = 2048


class Push(NamedTuple):
    """A vector that is added at a site, as long as it is."""

    site: Site
    vector: Float[Tensor, " d"]


def check_options(model: Model, prompts: Sequence[Any], options: Sequence[Sequence[str]]) -> None:
    """Raises DataError: options that are fewer than two, empty or the same, or a prompt longer than the context."""
    for number, few in enumerate(options):
        if len(few) < 2 or len(few) != len(options[0]) or len(set(few)) < len(few) or not all(few):
            raise DataError(
                f"Row {number}: options {available(few)}; at least two are needed, as many as in row 0, no two the "
                "same, none empty."
            )
    model.rows(prompts)


def answered(
    model: Model,
    prompts: Sequence[Any],
    options: Sequence[Sequence[str]],
    pushes: Sequence[Push],
    *,
    batch_tokens: int = 8192,
    label: str = "Steering",
    progress: bool = True,
) -> Float[np.ndarray, "m n k"]:
    """Log-probability of every option (columns) after every prompt (rows) under every push.

    options: as many for each prompt. Single tokens are read from one pass; others are scored whole, which takes longer.
    """
    answer_ids = AnswerIds()
    ids = [[answer_ids(model, prompt, one) for one in few] for prompt, few in zip(prompts, options, strict=True)]
    if any(len(one) != 1 for row in ids for one in row) or any(len(set(row)) < len(row) for row in ids):
        return _whole(model, prompts, options, pushes, batch_tokens=batch_tokens, label=label, progress=progress)
    tokens = torch.tensor([[one[0] for one in row] for row in ids])
    out = np.full((len(pushes), len(prompts), tokens.shape[1]), np.nan)
    with bar(label, total=len(pushes) * len(prompts), shown=progress) as advance:
        encoded = model.rows(prompts)
        for site in dict.fromkeys(one.site for one in pushes):
            mine = [number for number, one in enumerate(pushes) if one.site == site]
            vectors = torch.stack([pushes[number].vector for number in mine])
            for part in stepped(model, encoded, {site: vectors}, batch_tokens=batch_tokens):
                wanted = tokens[part.rows].repeat_interleave(len(part.arms), dim=0).to(part.logits.device)
                logits = part.logits.double()
                found = logits.gather(1, wanted) - logits.logsumexp(dim=1, keepdim=True)
                numbers = [mine[arm] for arm in part.arms]
                out[np.ix_(np.array(numbers), part.rows.numpy())] = part.table(found).cpu().numpy()
                advance(len(part.rows) * len(part.arms))
    return out


def _whole(
    model: Model,
    prompts: Sequence[Any],
    options: Sequence[Sequence[str]],
    pushes: Sequence[Push],
    *,
    batch_tokens: int,
    label: str,
    progress: bool,
) -> Float[np.ndarray, "m n k"]:
    """Answers of several tokens: copies of the prompts, as many pushes at once as fit."""
    n, out = len(prompts), np.full((len(pushes), len(prompts), len(options[0])), np.nan)
    each = max(1, ROWS // n)
    with bar(label, total=len(pushes) * n, shown=progress) as advance:
        for site in dict.fromkeys(one.site for one in pushes):
            mine = [number for number, one in enumerate(pushes) if one.site == site]
            for start in range(0, len(mine), each):
                numbers = mine[start : start + each]
                vectors = torch.stack([pushes[number].vector for number in numbers]).repeat_interleave(n, dim=0)
                copies = list(prompts) * len(numbers), list(options) * len(numbers)
                steps = Steps(vectors, sites=(site,))
                found = ask(model, *copies, steps, batch_tokens=batch_tokens, progress=False)
                out[numbers] = found.log_p.reshape(len(numbers), n, -1)
                advance(len(numbers) * n)
    return out
