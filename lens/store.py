"""Store: activations on disk as checksummed shards, so that a killed run goes on where it was."""

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.activations import Activations, Source
from lens.errors import ArtifactError, SiteError, available
from lens.examples import Examples
from lens.files import Files
from lens.sites import Site

FORMAT = 1
StoreDtype = Literal["float32", "float16", "bfloat16"]
MANIFEST, EXAMPLES = "manifest.json", "examples.jsonl"


@dataclass(frozen=True)
class Manifest:
    """What a store holds and how its rows are dealt out over shards; two runs with equal manifests write equal bytes.

    widest: most tokens of one row (pool "none"; else 1). batch_tokens: the token budget of a batch, on which the last
    bits of a sum depend.
    """

    source: Source
    sites: tuple[Site, ...]
    dtype: StoreDtype
    batch_tokens: int
    rows: int
    width: int
    widest: int
    shards: int

    def to_json(self) -> str:
        facts = asdict(self) | {"format": FORMAT, "sites": [str(site) for site in self.sites]}
        return json.dumps(facts, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str) -> "Manifest":
        try:
            facts = json.loads(text)
            if facts.pop("format") != FORMAT:
                raise ArtifactError(f"{where}: a store of another format; this version reads format {FORMAT}.")
            sites = tuple(Site.parse(name) for name in facts.pop("sites"))
            return cls(source=Source(**facts.pop("source")), sites=sites, **facts)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{where}: its manifest cannot be read ({error!r:.200}).") from error

    def difference(self, other: "Manifest") -> str:
        """The first field in which two manifests differ, with both values; empty where they are the same run's."""
        ours, theirs = _facts(self), _facts(other)
        name = next((name for name in ours if ours[name] != theirs[name]), "")
        return f"{name} {theirs[name]!r:.120}, not {ours[name]!r:.120}" if name else ""


def _facts(manifest: Manifest) -> dict[str, Any]:
    source = {f"source's {key}": value for key, value in asdict(manifest.source).items()}
    rest = {field.name: getattr(manifest, field.name) for field in fields(Manifest) if field.name != "source"}
    facts = {**source, **rest, "sites": [str(site) for site in manifest.sites]}
    return {key: value for key, value in facts.items() if key not in ("source's versions", "source's model")}


class Store:
    """Activations in a folder or at any fsspec URL: `manifest.json`, `examples.jsonl`, and shards.

    A shard appears whole or not at all, and carries the SHA-256 of each of its tensors. Reading is lazy (and
    memory-mapped for local folders): a site is read when asked for, and what is read is held against its checksum.

    >>> store = Store.open("runs/honesty")        # doctest: +SKIP
    >>> acts = store.activations()                # doctest: +SKIP
    """

    def __init__(self, url: str | Path, manifest: Manifest) -> None:
        self.url, self.manifest = str(url), manifest
        self._files = Files(self.url)

    @classmethod
    def open(cls, url: str | Path) -> "Store":
        """Open what a collection wrote. Raises ArtifactError where there is no store."""
        files = Files(str(url))
        text = files.get(MANIFEST)
        if text is None:
            raise ArtifactError(f"{url} holds no store of activations: it has no {MANIFEST}.")
        return cls(url, Manifest.from_json(text.decode(), str(url)))

    @classmethod
    def begin(cls, url: str | Path, manifest: Manifest, examples: Examples) -> "Store":
        """Begin a store, or open one that the same collection has begun.

        Raises ArtifactError: other files there, or a store of another collection (what differs is named).
        """
        files = Files(str(url))
        known = files.get(MANIFEST)
        if known is None:
            foreign = [name for name in files.names() if name != EXAMPLES]
            if foreign:
                raise ArtifactError(f"{url} holds something else ({available(foreign)}); give a new folder.")
            table = examples.frame.to_json(orient="records", lines=True, force_ascii=False)
            files.put(EXAMPLES, table.encode())
            known = files.put_new(MANIFEST, manifest.to_json().encode())
        found = Manifest.from_json(known.decode(), str(url))
        if differs := manifest.difference(found):
            raise ArtifactError(f"{url} holds another collection: its {differs}. Give a new folder.")
        files.tidy()
        return cls(url, found)

    def __repr__(self) -> str:
        held = self.manifest
        return f"Store({self.url!r}: {held.rows} rows × {held.width} at {available(held.sites)}, {held.dtype})"

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there, cut short, or altered (by checksum)."""
        return [number for number in range(self.manifest.shards) if not self._sound(number)]

    def write(self, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Write a shard: it appears at once, with a checksum for each tensor.

        Raises ArtifactError where the disk is full; what is already written stays.
        """
        from safetensors.torch import save

        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        sums = {name: _checksum(tensor) for name, tensor in sorted(whole.items())}
        try:
            self._files.put(_shard(number), save(whole, {"sha256": json.dumps(sums)}))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ArtifactError(
                f"{self.url}: the disk is full at shard {number} of {self.manifest.shards}. What is written stays: "
                "make room and run the same collection again, and it goes on from there."
            ) from error

    def read(self, number: int, name: str) -> Tensor:
        """One tensor of a shard, held against its checksum. Raises ArtifactError: missing, cut short, or altered."""
        try:
            tensor, metadata = self._files.tensor(_shard(number), name)
            sums = json.loads(metadata["sha256"])
        except (OSError, ValueError, KeyError, _damaged()) as error:
            raise ArtifactError(
                f"{self.url}: shard {number} of {self.manifest.shards} is missing or damaged ({error!s:.120}). Run the "
                "same collection again: only such shards are read anew."
            ) from error
        if sums.get(name) != _checksum(tensor):
            raise ArtifactError(
                f"{self.url}: {name} of shard {number} is not what was written (checksum). Run the same "
                "collection again: only such shards are read anew."
            )
        return tensor

    def blocks(self, site: str | Site) -> Iterator[tuple[Int[Tensor, " rows"], Float[Tensor, "values d"]]]:
        """Shard by shard: the rows' numbers and their activations at a site (with pool "none", those of all selected
        tokens, row after row), for work that must not hold everything."""
        wanted = next((known for known in self.manifest.sites if str(known) == str(site)), None)
        if wanted is None:
            raise SiteError(f"No activations at {str(site)!r}; stored: {available(self.manifest.sites)}.")
        for number in range(self.manifest.shards):
            yield self.read(number, "rows"), self.read(number, f"array/{wanted}").float()

    def examples(self) -> Examples:
        """The table of examples, as it was given."""
        text = self._files.get(EXAMPLES)
        if text is None:
            raise ArtifactError(f"{self.url} has lost its {EXAMPLES}.")
        return Examples(pd.DataFrame([json.loads(line) for line in text.decode().strip("\n").split("\n")]))

    def activations(self) -> Activations:
        """All rows in their order, each site read when asked for. Raises ArtifactError where shards are missing."""
        present = set(self._files.names())
        absent = [number for number in range(self.manifest.shards) if _shard(number) not in present]
        if absent:
            raise ArtifactError(
                f"{self.url}: {len(absent)} of {self.manifest.shards} shards are missing. Run the same collection "
                "again, and it goes on from there."
            )
        mask = None
        if self.manifest.source.pool == "none":
            counts = torch.zeros(self.manifest.rows, dtype=torch.long)
            for number in range(self.manifest.shards):
                counts[self.read(number, "rows")] = self.read(number, "counts")
            mask = torch.arange(self.manifest.widest)[None] < counts[:, None]
        arrays, norms = _Lazy(self, "array"), _Lazy(self, "norm")
        return Activations(arrays, norms, self.examples(), self.manifest.source, mask)

    def _sound(self, number: int) -> bool:
        names = ["rows", *(f"{kind}/{site}" for site in self.manifest.sites for kind in ("array", "norm"))]
        names += ["counts"] if self.manifest.source.pool == "none" else []
        try:
            for name in names:
                self.read(number, name)
        except ArtifactError:
            return False
        return True


class _Lazy(Mapping[Site, Tensor]):
    """One tensor per site over all rows, put together from the shards when asked for; the last two are kept."""

    def __init__(self, store: Store, kind: Literal["array", "norm"]) -> None:
        self._store, self._kind = store, kind
        self._load = lru_cache(maxsize=2)(self._assemble)

    def __getitem__(self, site: Site) -> Tensor:
        if site not in self._store.manifest.sites:
            raise KeyError(site)
        return self._load(site)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._store.manifest.sites)

    def __len__(self) -> int:
        return len(self._store.manifest.sites)

    def _assemble(self, site: Site) -> Tensor:
        store, held = self._store, self._store.manifest
        unpooled = self._kind == "array" and held.source.pool == "none"
        shape = [held.rows, held.widest, held.width] if unpooled else [held.rows, held.width]
        out = torch.zeros(shape[:1] if self._kind == "norm" else shape)
        for number in range(held.shards):
            rows, values = store.read(number, "rows"), store.read(number, f"{self._kind}/{site}").float()
            if unpooled:
                counts = store.read(number, "counts")
                real = torch.arange(held.widest)[None] < counts[:, None]
                padded = torch.zeros(len(rows), held.widest, held.width)
                padded[real] = values
                values = padded
            out[rows] = values
        return out


def _shard(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _checksum(tensor: Tensor) -> str:
    head = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    digest = hashlib.sha256(head)
    digest.update(memoryview(tensor.contiguous().view(torch.uint8).numpy()))
    return digest.hexdigest()


def _damaged() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError
