"""Prompts whose beginnings are run once, however many ways they are continued."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.model import Model
from lens.tokens import Batch

FULL, HALF = 1e-4, 3e-2
TRIED = 2


class Prefix:
    """The first `columns` of a left-padded batch, run once; `logits` runs the rest, each row in several copies.

    Exact only where nothing that differs between the copies acts on those columns. columns 0 runs everything every
    time.
    """

    def __init__(self, model: Model, batch: Batch, columns: int) -> None:
        self.model, self.batch, self.columns = model, batch, columns
        self._cache: Any = None
        if columns:
            with torch.no_grad(), model.laid_out(batch):
                self._cache = model.hf(
                    input_ids=batch.ids[:, :columns],
                    attention_mask=batch.mask[:, :columns],
                    use_cache=True,
                    **self._positions(batch.index[:, :columns]),
                    **self._last_logits(),
                ).past_key_values

    def logits(self, copies: int) -> Float[Tensor, "rows vocab"]:
        """Next-token logits of every row `copies` times over, those of a row beside each other: row `r` of the batch
        has rows `r · copies` and on. Interventions see as many rows, so a strength per row is one per copy."""
        wide = _repeated(self.batch, copies)
        if not self.columns:
            return self.model.next_token_logits(wide)
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(copies)
        with torch.no_grad(), self.model.laid_out(wide):
            return self.model.hf(
                input_ids=wide.ids[:, self.columns :],
                attention_mask=wide.mask,
                past_key_values=cache,
                use_cache=True,
                **self._positions(wide.index[:, self.columns :]),
                **self._last_logits(),
            ).logits[:, -1].float()  # fmt: skip

    def _positions(self, index: Tensor) -> dict[str, Tensor]:
        return {"position_ids": index.clamp(min=0)} if "position_ids" in self.model.forward_options else {}

    def _last_logits(self) -> dict[str, int]:
        return {"logits_to_keep": 1} if "logits_to_keep" in self.model.forward_options else {}


def prefixes(model: Model, plan: Iterator[tuple[Batch, int]]) -> Iterator[Prefix]:
    """A prefix per batch. Whether this model continues from a cache as it runs whole texts is tried on the first rows,
    the longest; where it does not, whole texts are run."""
    trusted: bool | None = None
    for batch, columns in plan:
        if columns and trusted is None:
            trusted = _continues(model, _first(batch, TRIED), columns)
        yield Prefix(model, batch, columns if trusted else 0)


def _continues(model: Model, batch: Batch, columns: int) -> bool:
    if "past_key_values" not in model.forward_options:
        return False
    whole = model.next_token_logits(batch)
    try:
        apart = Prefix(model, batch, columns).logits(1)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, NotImplementedError):
        # It keeps another kind of state, or none; if the model itself is wrong, the whole pass has said so.
        return False
    error = (apart - whole).abs().amax() / whole.abs().amax()
    return bool(error <= (FULL if model.dtype == torch.float32 else HALF))


def _first(batch: Batch, count: int) -> Batch:
    tensors: dict[str, Any] = {name: value[:count] for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)


def _repeated(batch: Batch, copies: int) -> Batch:
    tensors: dict[str, Any] = {
        name: value.repeat_interleave(copies, dim=0) for name, value in vars(batch).items() if isinstance(value, Tensor)
    }
    count = len(batch.rows) * copies
    tensors["rows"] = torch.arange(count, device=batch.ids.device)
    return replace(batch, **tensors, total=count)
