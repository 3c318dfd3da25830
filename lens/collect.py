"""Collect: texts to activations, in one pass for every wanted site."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.activations import Activations, Source
from lens.errors import DataError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.progress import bar
from lens.sites import Site
from lens.spans import Span
from lens.tokens import Batch, PaddingSide, batches, count_selected

Pool = Literal["mean", "last", "max", "none"]


def collect(
    model: Model,
    examples: Examples | Sequence[Prompt],
    *,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    span: str | Span = "prompt[-1]",
    pool: Pool = "mean",
    batch_tokens: int = 8192,
    padding_side: PaddingSide = "right",
    progress: bool = True,
) -> Activations:
    """Read activations at `sites` over the tokens of `span`, pooled per row.

    Each forward pass serves every site, is pooled inside the hooks, and stops as soon as the last wanted site
    has been read; no logits are computed. Rows are batched by length, at most `batch_tokens` tokens with
    padding; the result is in the order given and does not depend on batching or on the padding side (encoders are
    always padded on the right: they count positions by column).

    pool: `mean`, `last` or `max` over the span's tokens, or `none` (`[n, tokens, d_model]` with a mask).

    Raises SiteError, SpanError (a row where the span selects nothing), DataError (a row longer than the
    context), all before the first forward pass.
    """
    if pool not in get_args(Pool):
        raise DataError(f"Unknown pool {pool!r}; available: {available(get_args(Pool))}.")
    if not isinstance(examples, Examples):
        examples = Examples.from_texts(examples)
    wanted = model.sites(sites)
    span = Span.parse(span)
    rows = model.rows(examples.prompts, examples.responses)
    chosen = count_selected(rows, span)
    widest = int(chosen.max())
    shape = (len(rows), widest, model.d_model) if pool == "none" else (len(rows), model.d_model)
    arrays = {site: torch.zeros(shape) for site in wanted}
    norms = {site: torch.zeros(len(rows)) for site in wanted}
    side = "right" if model.is_encoder else padding_side
    plan = batches(rows, tokens=batch_tokens, pad_id=model.pad_id, padding_side=side)
    with bar("Collecting", total=len(rows), shown=progress) as advance:
        for batch in plan:
            reader = _Reader(batch, span, pool, widest, model.device)
            for site, (array, norm) in reader.run(model, wanted).items():
                arrays[site][batch.rows] = array
                norms[site][batch.rows] = norm
            advance(len(batch.rows))
    mask = torch.arange(widest)[None] < chosen[:, None] if pool == "none" else None
    source = Source(
        model=model.name,
        fingerprint=model.fingerprint,
        span=str(span),
        pool=pool,
        data=examples.hash(),
        versions={name: version(name) for name in ("behaviorlens", "torch", "transformers")},
    )
    return Activations(arrays, norms, examples, source, mask)


class _Stop(Exception):
    """Raised inside the last hook: nothing after it is needed."""


class _Reader:
    """Reads one batch: pools the span's tokens of each row at every site."""

    def __init__(self, batch: Batch, span: Span, pool: Pool, widest: int, device: torch.device) -> None:
        mask = span.select(batch.index, batch.prompt_length, batch.length)
        self.batch, self.pool, self.widest = batch.to(device), pool, widest
        self.one = bool((mask.sum(dim=1) == 1).all()) and pool != "none"
        self.counted = mask & ~(batch.has_bos[:, None] & (batch.index == 0))
        self.mask = mask.to(device)
        self.counted = self.counted.to(device)
        last = torch.where(mask, torch.arange(mask.shape[1]), -1).amax(dim=1)
        self.last = last.to(device)
        self.row = torch.arange(len(mask), device=device)

    def run(self, model: Model, sites: Sequence[Site]) -> dict[Site, tuple[Tensor, Tensor]]:
        read: dict[Site, tuple[Tensor, Tensor]] = {}

        def hook_for(site: Site) -> Any:
            def hook(h: Tensor) -> None:
                read[site] = self.pooled(h)
                if len(read) == len(sites):
                    raise _Stop

            return hook

        handles = [model.attach(site, hook_for(site)) for site in sites]
        try:
            # no_grad rather than inference_mode: what is handed out must be usable in autograd later.
            with torch.no_grad():
                model.forward(self.batch)
        except _Stop:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return {site: (array.cpu(), norm.cpu()) for site, (array, norm) in read.items()}

    def pooled(self, h: Float[Tensor, "batch pos d"]) -> tuple[Tensor, Tensor]:
        if self.one:
            token = h[self.row, self.last].float()
            real = self.counted[self.row, self.last]
            return token, torch.where(real, token.norm(dim=-1), torch.nan)
        values = h.float()
        norm = values.norm(dim=-1).where(self.counted, 0).sum(dim=1) / self.counted.sum(dim=1)
        return self._pool(values, self.mask), norm

    def _pool(self, values: Tensor, mask: Bool[Tensor, "batch pos"]) -> Tensor:
        if self.pool == "mean":
            # Pads may hold anything, nan included: they must not enter the sum at all.
            return values.masked_fill(~mask[..., None], 0).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        if self.pool == "last":
            return values[self.row, self.last]
        if self.pool == "max":
            return values.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
        out = values.new_zeros(len(values), self.widest, values.shape[-1])
        place = mask.long().cumsum(dim=1) - 1
        row, position = mask.nonzero(as_tuple=True)
        out[row, place[row, position]] = values[row, position]
        return out
