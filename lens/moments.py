"""Moments: counts, means and covariances per class, streamed, so that the number of rows has no limit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lens import documents
from lens.activations import Activations, Source
from lens.class_moments import ClassMoments
from lens.cluster import Task, done
from lens.collect import source_of
from lens.errors import DataError, SiteError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.reading import Job, Pool, Reading
from lens.sites import Site
from lens.spans import Span
from lens.tokens import PaddingSide, Truncate

FORMAT = 1
# With workers, so many parts each: a worker that dies loses no more than one of them.
PARTS = 4
Classes = tuple[str | int, ...]


@dataclass(frozen=True)
class Moments:
    """The moments of each site, beside where they came from: what `collect_moments` gives.

    by: the column that tells the classes, None where all rows are one. classes: the value of each class, in the order
    of `ClassMoments`. norms[site]: mean over rows of the norm of the tokens read, BOS excluded; normed: over how many
    rows (all but those of which only BOS was read).

    >>> moments["resid_post.2"].mean          # doctest: +SKIP
    """

    sites: Mapping[Site, ClassMoments]
    by: str | None
    classes: Classes
    norms: Mapping[Site, float]
    normed: int
    source: Source

    def site(self, site: str | Site) -> Site:
        """The site meant by a name. Raises SiteError where it was not collected."""
        named = {str(known): known for known in self.sites}
        if str(site) not in named:
            raise SiteError(f"No moments at {str(site)!r}; collected: {available(named)}.")
        return named[str(site)]

    def __getitem__(self, site: str | Site) -> ClassMoments:
        return self.sites[self.site(site)]

    def __add__(self, other: "Moments") -> "Moments":
        """Join moments of other rows; a class that only one side has is kept.

        Raises DataError where model, span, pool, truncate, what was applied, sites or the column of the classes differ.
        """
        for name in ("fingerprint", "span", "pool", "truncate", "steered"):
            ours, theirs = getattr(self.source, name), getattr(other.source, name)
            if ours != theirs:
                raise DataError(f"Moments of different {name} cannot be joined: {ours!r} and {theirs!r}.")
        if set(self.sites) != set(other.sites):
            raise DataError(f"Moments at {available(self.sites)} and at {available(other.sites)} cannot be joined.")
        if self.by != other.by:
            raise DataError(f"Moments of classes by {self.by!r} and by {other.by!r} cannot be joined.")
        classes = _ordered([*self.classes, *other.classes])
        mine, theirs = self._over(classes), other._over(classes)
        return mine._joined(
            replace(theirs, source=replace(self.source, data=f"{self.source.data}+{other.source.data}"))
        )

    def _over(self, classes: Classes) -> "Moments":
        places = torch.tensor([classes.index(value) for value in self.classes])
        return replace(
            self,
            classes=classes,
            sites={site: found.spread(places, k=len(classes)) for site, found in self.sites.items()},
        )

    def _joined(self, other: "Moments") -> "Moments":
        n, m = self.normed, other.normed
        norms = {
            site: norm if m == 0 else other.norms[site] if n == 0 else (n * norm + m * other.norms[site]) / (n + m)
            for site, norm in self.norms.items()
        }
        sites = {site: mine + other.sites[site] for site, mine in self.sites.items()}
        return replace(other, sites=sites, norms=norms, normed=n + m)

    @classmethod
    def of(cls, acts: Activations, *, by: str | None = "label") -> "Moments":
        """Of activations already collected, over their tokens where they are unpooled."""
        classes, numbers = _classes(acts.examples, by)
        sites = {}
        for site in acts.sites:
            values, owner = acts[site], numbers
            if acts.mask is not None:
                values, owner = values[acts.mask], owner.repeat_interleave(acts.mask.sum(dim=1))
            sites[site] = ClassMoments.of(values, owner, k=len(classes))
        norms = {site: acts.residual_norm(site) for site in acts.sites}
        normed = int((~acts.norms[acts.sites[0]].isnan()).sum())
        return cls(sites, by, classes, norms, normed, acts.source)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file."""
        tensors = {
            f"{part}/{site}": getattr(found, part)
            for site, found in self.sites.items()
            for part in ("count", "mean", "scatter")
        }
        facts = {
            "format": FORMAT,
            "sites": [str(site) for site in self.sites],
            "by": self.by,
            "classes": self.classes,
            "norms": list(self.norms.values()),
            "normed": self.normed,
            "source": asdict(self.source),
        }
        return documents.write(path, tensors, moments=facts)

    @classmethod
    def load(cls, path: str | Path) -> "Moments":
        """Read what `save` wrote. Raises ArtifactError where it is something else."""

        def make(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Moments:
            sites = [Site.parse(name) for name in facts["sites"]]
            found = {
                site: ClassMoments(*(tensors[f"{part}/{site}"] for part in ("count", "mean", "scatter")))
                for site in sites
            }
            norms = dict(zip(sites, facts["norms"], strict=True))
            source, classes = Source(**facts["source"]), tuple(facts["classes"])
            return cls(found, facts["by"], classes, norms, facts["normed"], source)

        return documents.read(path, "moments", make, what="moments", format=FORMAT)


def collect_moments(
    model: Model,
    examples: Examples | Sequence[Prompt],
    *,
    by: str | None = "label",
    sites: str | Site | Sequence[str | Site] = "resid_post",
    span: str | Span = "prompt[-1]",
    pool: Pool = "mean",
    batch_tokens: int | None = None,
    padding_side: PaddingSide = "right",
    truncate: Truncate | None = None,
    workers: int | None = None,
    address: str | None = None,
    progress: bool = True,
) -> Moments:
    """Collect straight into moments: no activation outlives its batch. Options as `collect`.

    by: the column whose values are the classes; None: all rows are one class. With pool "none" every token of the
    span counts as a row.

    Raises what `collect` raises. DataError: the column is missing, or has no value in some row.
    """
    if not isinstance(examples, Examples):
        examples = Examples.from_texts(examples)
    classes, numbers = _classes(examples, by)
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
    make = partial(_moments_of, labels=numbers, by=by, classes=classes, source=source_of(job, examples, truncate))
    size = len(job.plan) if workers is None else -(-len(job.plan) // (PARTS * max(workers, 1)))
    tasks = {start: Task(job.plan[start : start + size], make) for start in range(0, len(job.plan), size)}
    waiting, parts = list(tasks), dict[int, Moments]()
    total: Moments | None = None
    # Joined in their own order, whoever is done first: the same bits in every run.
    for start, part in done(job, tasks, workers=workers, address=address, progress=progress):
        parts[start] = part
        while waiting and waiting[0] in parts:
            part = parts.pop(waiting.pop(0))
            total = part if total is None else total._joined(part)
    assert total is not None
    return total


def _moments_of(
    job: Job,
    readings: Iterator[Reading],
    *,
    labels: Int[torch.Tensor, " n"],
    by: str | None,
    classes: Classes,
    source: Source,
) -> Moments:
    found = {site: ClassMoments.empty(len(classes), job.widths[site]) for site in job.sites}
    sums = dict.fromkeys(job.sites, 0.0)
    normed = 0
    for reading in readings:
        owner = reading.rows
        if job.pool == "none":
            owner = owner.repeat_interleave(job.counts[owner])
        for site in job.sites:
            found[site].absorb(reading.arrays[site], labels[owner])
            sums[site] += float(reading.norms[site].double().nansum())
        normed += int((~reading.norms[job.sites[0]].isnan()).sum())
    norms = {site: total / normed if normed else float("nan") for site, total in sums.items()}
    return Moments(found, by, classes, norms, normed, source)


def _classes(examples: Examples, by: str | None) -> tuple[Classes, Int[torch.Tensor, " n"]]:
    if by is None:
        return ("all",), torch.zeros(len(examples), dtype=torch.long)
    frame = examples.frame
    if by not in frame:
        raise DataError(f"No column {by!r} to tell classes by; available: {available(frame.columns)}, or by=None.")
    if frame[by].isna().any():
        raise DataError(
            f"Row {int(frame[by].isna().argmax())} has no value in column {by!r}, which tells the classes; leave such "
            "rows out, or give by=None."
        )
    values = [int(value) if isinstance(value, int | np.integer) else str(value) for value in frame[by]]
    classes = _ordered(values)
    place = {value: number for number, value in enumerate(classes)}
    return classes, torch.tensor([place[value] for value in values])


def _ordered(values: Sequence[str | int]) -> Classes:
    return tuple(sorted(set(values), key=lambda value: (isinstance(value, str), value)))
