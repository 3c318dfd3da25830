"""Activations: one array per site, beside the examples they were read from."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.errors import ArtifactError, DataError, SiteError, available
from lens.examples import Examples
from lens.sites import Site

FORMAT = 1
FILES = {"arrays.safetensors", "examples.jsonl", "meta.json"}
_ROW = "__row__"


@dataclass(frozen=True)
class Source:
    """Where activations came from: enough to tell whether two sets belong together. truncate: which end of texts longer
    than the context was cut. steered: what was applied while they were read."""

    model: str
    fingerprint: str
    span: str
    pool: str
    data: str
    versions: dict[str, str]
    truncate: str | None = None
    steered: str = ""


@dataclass(frozen=True)
class Activations:
    """What was read at each site.

    arrays[site]: `[n, d_model]` float32 (`[n, tokens, d_model]` with pool "none", then `mask[n, tokens]` says
    which are real). norms[site]: `[n]`, the mean norm of the tokens read, BOS excluded (nan where only BOS was
    read). examples: the table the rows belong to.

    >>> acts["resid_post.2"].shape          # doctest: +SKIP
    torch.Size([400, 128])
    """

    arrays: Mapping[Site, Float[Tensor, "n *tokens d"]]
    norms: Mapping[Site, Float[Tensor, " n"]]
    examples: Examples
    source: Source
    mask: Bool[Tensor, "n tokens"] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        return (
            f"Activations({len(self)} rows × {self.width} at {available(self.sites)}; span {self.source.span!r}, "
            f"pool {self.source.pool!r}, model {self.source.model!r})"
        )

    @property
    def width(self) -> int:
        """Of the first site. What is read from a store lazily knows it without reading."""
        known: int | None = getattr(self.arrays, "width", None)
        return known or next(iter(self.arrays.values())).shape[-1]

    @property
    def sites(self) -> list[Site]:
        return list(self.arrays)

    @property
    def labels(self) -> np.ndarray:
        return self.examples.labels

    @property
    def groups(self) -> np.ndarray:
        return self.examples.groups

    def site(self, site: str | Site) -> Site:
        """The site meant by a name. Raises SiteError where it was not collected."""
        named = {str(known): known for known in self.arrays}
        if str(site) not in named:
            raise SiteError(f"No activations at {str(site)!r}; collected: {available(named)}.")
        return named[str(site)]

    def __getitem__(self, site: str | Site) -> Tensor:
        return self.arrays[self.site(site)]

    def numpy(self, site: str | Site) -> Float[np.ndarray, "n d"]:
        """Pooled activations at one site for scikit-learn. Raises SiteError for unpooled ones."""
        array = self[site]
        if array.ndim != 2:
            raise SiteError(f"Activations at {site} are unpooled, {list(array.shape)}; collect with a pool.")
        return array.numpy()

    def residual_norm(self, site: str | Site) -> float:
        """Mean norm of the tokens read at a site, BOS excluded."""
        return float(torch.nanmean(self.norms[self.site(site)]))

    def select(self, rows: "np.ndarray | pd.Series | Sequence[int]") -> "Activations":
        """The rows of a boolean mask or list of row numbers."""
        chosen = np.asarray(rows)
        index = torch.tensor(np.flatnonzero(chosen) if chosen.dtype == bool else chosen)
        chosen_examples = self.examples.select(index.numpy())
        return replace(
            self,
            arrays={site: array[index] for site, array in self.arrays.items()},
            norms={site: norm[index] for site, norm in self.norms.items()},
            examples=chosen_examples,
            source=replace(self.source, data=chosen_examples.hash()),
            mask=None if self.mask is None else self.mask[index],
        )

    def where(self, **values: Any) -> "Activations":
        """The rows whose columns have these values, as `Examples.where`."""
        numbered = Examples(self.examples.frame.assign(**{_ROW: range(len(self))}))
        return self.select(numbered.where(**values).frame[_ROW].to_numpy())

    def save(self, folder: str | Path) -> Path:
        """Write `arrays.safetensors`, `examples.jsonl` and `meta.json` into a folder, which appears at once.

        Raises ArtifactError where the folder holds anything but activations.
        """
        from safetensors.torch import save_file

        folder = Path(folder).absolute()
        foreign = sorted({path.name for path in folder.iterdir()} - FILES) if folder.is_dir() else []
        if folder.is_file() or foreign:
            raise ArtifactError(
                f"{folder} holds something else ({available(foreign or ['a file'])}); give a new folder."
            )
        part = folder.with_name(folder.name + ".part")
        part.mkdir(parents=True, exist_ok=True)
        tensors = {f"array/{site}": array.contiguous() for site, array in self.arrays.items()}
        tensors |= {f"norm/{site}": norm.contiguous() for site, norm in self.norms.items()}
        if self.mask is not None:
            tensors["mask"] = self.mask
        save_file(tensors, part / "arrays.safetensors")
        self.examples.frame.to_json(part / "examples.jsonl", orient="records", lines=True, force_ascii=False)
        sites = [str(site) for site in self.arrays]
        meta = {"format": FORMAT, "sites": sites, "source": self.source.__dict__}
        (part / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
        if folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
                os.replace(folder, Path(aside) / "old")
                os.replace(part, folder)
        else:
            os.replace(part, folder)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Activations":
        """Read what `save` wrote. Raises ArtifactError: files missing, unknown format, or rows that disagree."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "arrays.safetensors")
            # Not splitlines(): a text may hold U+2028 and its like, which JSON leaves as they are.
            lines = (folder / "examples.jsonl").read_text(encoding="utf-8").strip("\n").split("\n")
        except (OSError, ValueError, SafetensorError) as error:
            raise ArtifactError(f"{folder} holds no readable activations: {error}") from error
        if meta.get("format") != FORMAT:
            raise ArtifactError(f"{folder}: format {meta.get('format')!r}; this version reads format {FORMAT}.")
        try:
            sites = [Site.parse(name) for name in meta["sites"]]
            loaded = cls(
                arrays={site: tensors[f"array/{site}"] for site in sites},
                norms={site: tensors[f"norm/{site}"] for site in sites},
                examples=Examples(pd.DataFrame([json.loads(line) for line in lines])),
                source=Source(**meta["source"]),
                mask=tensors.get("mask"),
            )
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise ArtifactError(f"{folder}: its files do not fit together ({error!r:.200}).") from error
        if any(len(array) != len(loaded) for array in [*loaded.arrays.values(), *loaded.norms.values()]):
            raise ArtifactError(f"{folder}: arrays and examples have different numbers of rows.")
        return loaded
