"""Predictions compared: the divergence of a steered model from the unsteered one, and how likely responses are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.generation import Generation
from lens.model import Model
from lens.tokens import Batch, Row, batches
from steering.apply import apply
from steering.interventions import Intervention


def divergence(steered: Float[Tensor, "*rows vocab"], plain: Float[Tensor, "*rows vocab"]) -> Float[Tensor, "*rows"]:
    """KL(steered ‖ plain) = Σ p (log p − log q) in nats, from logits."""
    p, q = torch.log_softmax(steered.float(), dim=-1), torch.log_softmax(plain.float(), dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)


def divergence_of_texts(
    model: Model,
    prompts: Sequence[Any],
    made: Sequence[Generation],
    *interventions: Intervention,
    batch_tokens: int = 2048,
    other_model: bool = False,
) -> Float[np.ndarray, " n"]:
    """Mean over a text's tokens of KL(steered ‖ unsteered) of the prediction of that token, in nats.

    Texts are those that were generated under the interventions, so each token was predicted from what stands before it.
    nan for an empty text.
    """
    out = np.full(len(made), np.nan)
    rows = continued(model, prompts, made)
    for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id, padding_side="left"):
        here = batch.to(model.device)
        with torch.no_grad():
            plain = model.forward(here).logits[:, :-1]
            with apply(model, *interventions, other_model=other_model):
                steered = model.forward(here).logits[:, :-1]
        predicted = (here.index >= here.prompt_length[:, None])[:, 1:]
        count = predicted.sum(dim=1)
        moved = divergence(steered, plain).where(predicted, 0.0).sum(dim=1) / count
        out[batch.rows.numpy()] = torch.where(count > 0, moved, torch.nan).cpu().numpy()
    return out


def continued(model: Model, prompts: Sequence[Any], made: Sequence[Generation]) -> list[Row]:
    """Prompts with what was generated from them, by the ids themselves: a text need not give its own ids back."""
    starts = model.rows(prompts)
    return [Row(s.ids + list(m.ids), len(s), s.has_bos) for s, m in zip(starts, made, strict=True)]


def of_responses(model: Model, batch: Batch) -> tuple[Float[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
    """Log-probability of every token but the first, 0 outside the response; and which are in it."""
    with torch.no_grad():
        logits = model.forward(batch).logits[:, :-1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(2, batch.ids[:, 1:, None])[..., 0]
    answer = (batch.index >= batch.prompt_length[:, None])[:, 1:]
    return chosen.where(answer, 0.0), answer
