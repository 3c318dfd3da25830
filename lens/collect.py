"""Collect: texts to activations, in one pass for every wanted site."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from lens.activations import Activations, Source
from lens.errors import DataError
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.progress import bar
from lens.reading import Job, Pool, Reading, read
from lens.sites import Site
from lens.spans import Span
from lens.store import Manifest, Store, StoreDtype
from lens.tokens import PaddingSide, Truncate

# A shard ends where either is reached: little is lost when a run is killed, and files stay few.
SHARD_BYTES, SHARD_TOKENS = 2**26, 2**18


def collect(
    model: Model,
    examples: Examples | Sequence[Prompt],
    *,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    span: str | Span = "prompt[-1]",
    pool: Pool = "mean",
    store: str | Path | None = None,
    dtype: StoreDtype = "float32",
    batch_tokens: int | None = None,
    padding_side: PaddingSide = "right",
    truncate: Truncate | None = None,
    progress: bool = True,
) -> Activations:
    """Read activations at `sites` over the tokens of `span`, pooled per row.

    Each forward pass serves every site, is pooled inside the hooks, and stops as soon as the last wanted site
    has been read; no logits are computed. Rows are batched by length; the result is in the order given and does not
    depend on batching or on the padding side (encoders are always padded on the right: they count positions by
    column).

    pool: `mean`, `last` or `max` over the span's tokens, or `none` (`[n, tokens, d_model]` with a mask).
    store: a folder or fsspec URL that receives the activations shard by shard, so that memory stays flat; a run that
    was killed goes on where it was when the same call is made again, and what is returned reads from there (see
    `lens.Store`). dtype: as what numbers are stored there.
    batch_tokens: at most so many tokens in a batch, padding included; by default what fits, halved where it did not.
    truncate: cut rows longer than the context at their `left` (after BOS) or `right` end; never done unasked.

    Raises SiteError, SpanError (a row where the span selects nothing), DataError (a row longer than the
    context), ArtifactError (a store of another collection), all before the first forward pass. DataError naming the
    row and site of a value that is not finite.
    """
    if not isinstance(examples, Examples):
        examples = Examples.from_texts(examples)
    if store is None and dtype != "float32":
        raise DataError(f"dtype={dtype!r} is how a store holds numbers; give store= as well.")
    job = Job.prepare(
        model,
        examples,
        sites=sites,
        span=span,
        pool=pool,
        batch_tokens=batch_tokens,
        padding_side=padding_side,
        truncate=truncate,
    )
    source = source_of(job, examples, truncate)
    if store is None:
        return _in_memory(job, examples, source, progress=progress)
    return _into_store(job, examples, source, store, dtype, progress=progress)


def source_of(job: Job, examples: Examples, truncate: Truncate | None) -> Source:
    """Where the activations of a job come from."""
    return Source(
        model=job.model.name,
        fingerprint=job.model.fingerprint,
        span=str(job.span),
        pool=job.pool,
        data=examples.hash(),
        versions={name: version(name) for name in ("behaviorlens", "torch", "transformers")},
        truncate=truncate,
    )


def _in_memory(job: Job, examples: Examples, source: Source, *, progress: bool) -> Activations:
    n, width, widest = len(job.rows), job.model.d_model, int(job.counts.max())
    unpooled = job.pool == "none"
    arrays = {site: torch.zeros((n, widest, width) if unpooled else (n, width)) for site in job.sites}
    norms = {site: torch.zeros(n) for site in job.sites}
    mask = torch.arange(widest)[None] < job.counts[:, None] if unpooled else None
    for reading in shown(job, read(job), progress):
        for site in job.sites:
            if mask is None:
                arrays[site][reading.rows] = reading.arrays[site]
            else:
                padded = torch.zeros(len(reading.rows), widest, width)
                padded[mask[reading.rows]] = reading.arrays[site]
                arrays[site][reading.rows] = padded
            norms[site][reading.rows] = reading.norms[site]
    return Activations(arrays, norms, examples, source, mask)


def shown(job: Job, readings: Iterator[Reading], progress: bool, *, total: int | None = None) -> Iterator[Reading]:
    """Readings with a bar that counts tokens."""
    tokens = int(job.rows.lengths.sum()) if total is None else total
    with bar("Collecting", total=tokens, shown=progress, unit="tokens") as advance:
        for reading in readings:
            yield reading
            advance(int(job.rows.lengths[reading.rows].sum()))


def _into_store(
    job: Job, examples: Examples, source: Source, where: str | Path, dtype: StoreDtype, *, progress: bool
) -> Activations:
    shards = shard_plan(job, dtype)
    manifest = Manifest(
        source=source,
        sites=job.sites,
        dtype=dtype,
        batch_tokens=job.batch_tokens,
        rows=len(job.rows),
        width=job.model.d_model,
        widest=int(job.counts.max()) if job.pool == "none" else 1,
        shards=len(shards),
    )
    store = Store.begin(where, manifest, examples)
    missing = store.missing()
    tokens = sum(int(job.rows.lengths[rows].sum()) for number in missing for rows in shards[number])
    with bar("Collecting", total=tokens, shown=progress, unit="tokens") as advance:
        for number in missing:
            write_shard(job, store, number, shards[number])
            advance(sum(int(job.rows.lengths[rows].sum()) for rows in shards[number]))
    return store.activations()


def shard_plan(job: Job, dtype: StoreDtype) -> list[list[list[int]]]:
    """The batches of each shard."""
    each = len(job.sites) * job.model.d_model * getattr(torch, dtype).itemsize
    shards: list[list[list[int]]] = []
    size = tokens = 0
    for rows in job.plan:
        values = int(job.counts[rows].sum()) if job.pool == "none" else len(rows)
        if not shards or size + values * each > SHARD_BYTES or tokens >= SHARD_TOKENS:
            shards.append([])
            size = tokens = 0
        shards[-1].append(rows)
        size += values * each
        tokens += int(job.rows.lengths[rows].sum())
    return shards


def write_shard(job: Job, store: Store, number: int, batches: Sequence[Sequence[int]]) -> None:
    """Read the batches of one shard and write it."""
    readings = list(read(job, batches))
    kept = getattr(torch, store.manifest.dtype)
    tensors: dict[str, Tensor] = {"rows": torch.cat([reading.rows for reading in readings])}
    if job.pool == "none":
        tensors["counts"] = job.counts[tensors["rows"]]
    for site in job.sites:
        array = torch.cat([reading.arrays[site] for reading in readings]).to(kept)
        if not bool(array.isfinite().all()):
            raise DataError(f"Activations at {site} are too large for {store.manifest.dtype}; store them as float32.")
        tensors[f"array/{site}"] = array
        tensors[f"norm/{site}"] = torch.cat([reading.norms[site] for reading in readings])
    store.write(number, tensors)
