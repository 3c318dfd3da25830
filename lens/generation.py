"""Generation: text from a model, in length-sorted left-padded batches, in the order it was asked for."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lens.errors import DataError, ModelError, available
from lens.tokens import Batch, batches

if TYPE_CHECKING:
    from lens.model import Model


DEFAULT_NEW_TOKENS = 32


@dataclass(frozen=True)
class Generation:
    """One continuation. `finished` is False where the token limit cut it off."""

    text: str
    ids: list[int]
    finished: bool


def generate(
    model: "Model",
    prompts: Sequence[Any],
    *,
    max_new_tokens: int | None = None,
    config: Any = None,
    batch_tokens: int = 8192,
    **fields: Any,
) -> list[Generation]:
    """Continue every prompt; greedy unless `do_sample=True`; options are fields of `GenerationConfig`.

    Raises ModelError: an encoder, or a field that GenerationConfig does not have. DataError: a prompt that
    leaves no room for `max_new_tokens` in the context.
    """
    settings = settings_for(model, config, max_new_tokens, fields)
    made: dict[int, Generation] = {}
    for batch in prompt_batches(model, prompts, settings, batch_tokens):
        for number, one in zip(batch.rows.tolist(), run(model, batch, settings), strict=True):
            made[number] = one
    return [made[number] for number in range(len(made))]


def prompt_batches(model: "Model", prompts: Sequence[Any], settings: Any, batch_tokens: int) -> Iterator[Batch]:
    """Left-padded batches of prompts. Raises DataError where one leaves no room for what is to be generated."""
    rows = model.rows(prompts)
    for number, row in enumerate(rows):
        if model.context is not None and len(row) + settings.max_new_tokens > model.context:
            raise DataError(
                f"Row {number} has {len(row)} tokens; with max_new_tokens={settings.max_new_tokens} it passes this "
                f"model's context of {model.context}."
            )
    for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id, padding_side="left"):
        yield batch.to(model.device)


def run(model: "Model", batch: Batch, settings: Any, *, stopping: Any = None) -> list[Generation]:
    """Continue the prompts of one batch. stopping: transformers' stopping criteria, called after each token."""
    stop = settings.eos_token_id
    stops = set(stop if isinstance(stop, list) else [stop]) - {None}
    with torch.no_grad(), model.laid_out(batch, generating=True):
        output = model.hf.generate(
            input_ids=batch.ids, attention_mask=batch.mask, generation_config=settings, stopping_criteria=stopping
        )
    sequences = output if isinstance(output, torch.Tensor) else output.sequences
    each = len(sequences) // len(batch.ids)
    made = []
    for at in range(len(batch.ids)):
        new = sequences[at * each, batch.ids.shape[1] :].tolist()
        end = next((place for place, token in enumerate(new) if token in stops), None)
        ids = new if end is None else new[:end]
        text = model.tokenizer.decode(ids, skip_special_tokens=True)
        made.append(Generation(text, ids, finished=end is not None))
    return made


def settings_for(model: "Model", config: Any, max_new_tokens: int | None, fields: dict[str, Any]) -> Any:
    """The `GenerationConfig` of a call. Raises ModelError: an encoder, an unknown field, no new token."""
    from transformers import GenerationConfig

    if model.is_encoder:
        raise ModelError(f"{model.name} is an encoder: it generates no text.")
    unknown = [field for field in fields if not hasattr(GenerationConfig(), field)]
    if unknown:
        raise ModelError(
            f"Unknown option {unknown[0]!r} for generate; available are the fields of GenerationConfig: "
            f"{available(sorted(GenerationConfig().to_dict()), 40)}."
        )
    if config is not None:
        settings = copy.deepcopy(config)
    else:
        settings = copy.deepcopy(model.hf.generation_config)
        settings.do_sample = False
    if max_new_tokens is None:
        max_new_tokens = (config.max_new_tokens if config is not None else None) or DEFAULT_NEW_TOKENS
    if max_new_tokens < 1:
        raise ModelError(f"max_new_tokens={max_new_tokens}: at least 1 token must be made.")
    settings.max_new_tokens = max_new_tokens
    for field, value in fields.items():
        setattr(settings, field, value)
    if not settings.do_sample:
        # A checkpoint's own sampling defaults mean nothing for greedy decoding, and are warned about.
        settings.temperature = settings.top_p = settings.top_k = settings.min_p = None
    settings.pad_token_id = model.pad_id
    if settings.eos_token_id is None:
        settings.eos_token_id = model.tokenizer.eos_token_id
    return settings
