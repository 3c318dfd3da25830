"""Moments: counts, means and covariances per class, streamed, so that the number of rows has no limit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.activations import Activations, Source
from lens.errors import ArtifactError, DataError, SiteError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.reading import Job, Pool, read
from lens.sites import Site
from lens.spans import Span
from lens.tokens import PaddingSide, Truncate

FORMAT = 1


@dataclass(frozen=True)
class ClassMoments:
    """Count, mean and scatter of the rows of each class, in float64.

        mean_c = Σ x / n_c,     scatter_c = Σ (x − mean_c)(x − mean_c)ᵀ        over the rows x of class c

    count: `[k]`; mean: `[k, d]`; scatter: `[k, d, d]`. Sets of rows are joined without seeing them again (Chan, Golub &
    LeVeque, 1983), with δ = mean_b − mean_a:

        n = n_a + n_b,    mean = mean_a + δ n_b / n,    scatter = scatter_a + scatter_b + δδᵀ n_a n_b / n
    """

    count: Int[Tensor, " k"]
    mean: Float[Tensor, "k d"]
    scatter: Float[Tensor, "k d d"]

    @classmethod
    def empty(cls, classes: int, width: int) -> "ClassMoments":
        zeros = torch.zeros(classes, width, width, dtype=torch.float64)
        return cls(torch.zeros(classes, dtype=torch.long), zeros[:, 0].clone(), zeros)

    @classmethod
    def of(cls, values: Float[Tensor, "n d"], classes: Int[Tensor, " n"], *, k: int) -> "ClassMoments":
        """Of rows in memory; `classes` are numbers from 0 to k − 1."""
        found = cls.empty(k, values.shape[1])
        for number in range(k):
            rows = values[classes == number].double()
            if len(rows):
                centred = rows - rows.mean(dim=0)
                found.count[number], found.mean[number] = len(rows), rows.mean(dim=0)
                found.scatter[number] = centred.T @ centred
        return found

    def __add__(self, other: "ClassMoments") -> "ClassMoments":
        if self.mean.shape != other.mean.shape:
            raise DataError(f"Moments of shapes {list(self.mean.shape)} and {list(other.mean.shape)} cannot be joined.")
        count = self.count + other.count
        share = (other.count / count.clamp(min=1)).double()
        step = other.mean - self.mean
        outer = step[:, :, None] * step[:, None, :]
        return ClassMoments(
            count,
            self.mean + step * share[:, None],
            self.scatter + other.scatter + outer * (self.count * share)[:, None, None],
        )

    @property
    def total(self) -> "ClassMoments":
        """All classes as one."""
        count = self.count.sum()
        mean = (self.count[:, None] * self.mean).sum(dim=0) / count.clamp(min=1)
        step = self.mean - mean
        between = (self.count[:, None] * step).T @ step
        return ClassMoments(count[None], mean[None], (self.scatter.sum(dim=0) + between)[None])

    def covariance(self, number: int | None = None) -> Float[Tensor, "d d"]:
        """`scatter_c / (n_c − 1)` of one class; without a number, pooled within classes: `Σ scatter_c / (n − k)`.

        Raises DataError where there are too few rows.
        """
        if number is not None:
            free, scatter = int(self.count[number]) - 1, self.scatter[number]
        else:
            present = self.count > 0
            free, scatter = int(self.count.sum() - present.sum()), self.scatter.sum(dim=0)
        if free < 1:
            raise DataError(f"A covariance needs more rows; the classes have {self.count.tolist()}.")
        return scatter / free


@dataclass(frozen=True)
class Moments:
    """The moments of each site, beside where they came from: what `collect_moments` gives.

    classes: the value of each class, in the order of `ClassMoments`. norms[site]: mean norm of the tokens read, BOS
    excluded.

    >>> moments["resid_post.2"].mean          # doctest: +SKIP
    """

    sites: Mapping[Site, ClassMoments]
    classes: tuple[str | int, ...]
    norms: Mapping[Site, float]
    source: Source

    def __getitem__(self, site: str | Site) -> ClassMoments:
        named = {str(known): known for known in self.sites}
        if str(site) not in named:
            raise SiteError(f"No moments at {str(site)!r}; collected: {available(named)}.")
        return self.sites[named[str(site)]]

    def __add__(self, other: "Moments") -> "Moments":
        """Join moments of other rows. Raises DataError where model, span, pool, sites or classes differ."""
        for name in ("fingerprint", "span", "pool", "truncate"):
            ours, theirs = getattr(self.source, name), getattr(other.source, name)
            if ours != theirs:
                raise DataError(f"Moments of different {name} cannot be joined: {ours!r} and {theirs!r}.")
        if list(self.sites) != list(other.sites) or self.classes != other.classes:
            raise DataError("Moments of different sites or classes cannot be joined.")
        n, m = (int(next(iter(one.sites.values())).count.sum()) for one in (self, other))
        return replace(
            self,
            sites={site: mine + other.sites[site] for site, mine in self.sites.items()},
            norms={site: (n * norm + m * other.norms[site]) / (n + m) for site, norm in self.norms.items()},
            source=replace(self.source, data=f"{self.source.data}+{other.source.data}"),
        )

    @classmethod
    def of(cls, acts: Activations, *, by: str | None = "label") -> "Moments":
        """Of activations already collected, over their tokens where they are unpooled."""
        classes, numbers = _classes(acts.examples, by)
        sites = {}
        for site in acts.sites:
            values, owner = acts[site], torch.from_numpy(numbers)
            if acts.mask is not None:
                values, owner = values[acts.mask], owner.repeat_interleave(acts.mask.sum(dim=1))
            sites[site] = ClassMoments.of(values, owner, k=len(classes))
        return cls(sites, classes, {site: acts.residual_norm(site) for site in acts.sites}, acts.source)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file."""
        from safetensors.torch import save_file

        path = Path(path)
        tensors = {
            f"{part}/{site}": getattr(found, part).contiguous()
            for site, found in self.sites.items()
            for part in ("count", "mean", "scatter")
        }
        facts = {
            "format": FORMAT,
            "sites": [str(site) for site in self.sites],
            "classes": self.classes,
            "norms": list(self.norms.values()),
            "source": asdict(self.source),
        }
        part = path.with_name(path.name + ".part")
        save_file(tensors, part, metadata={"moments": json.dumps(facts)})
        part.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Moments":
        """Read what `save` wrote. Raises ArtifactError where it is something else."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(path), framework="pt") as file:
                facts = json.loads(file.metadata()["moments"])
                if facts["format"] != FORMAT:
                    raise ArtifactError(f"{path} has another format; this version reads format {FORMAT}.")
                sites = [Site.parse(name) for name in facts["sites"]]
                found = {
                    site: ClassMoments(*(file.get_tensor(f"{part}/{site}") for part in ("count", "mean", "scatter")))
                    for site in sites
                }
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path} holds no moments: {error!s:.200}") from error
        norms = dict(zip(sites, facts["norms"], strict=True))
        return cls(found, tuple(facts["classes"]), norms, Source(**facts["source"]))


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
    progress: bool = True,
) -> Moments:
    """Collect straight into moments: no activation outlives its batch. Options as `collect`.

    by: the column whose values are the classes; None: all rows are one class. With pool "none" every token of the
    span counts as a row.

    Raises what `collect` raises. DataError: the column is missing, or has no value in some row.
    """
    from lens.collect import shown, source_of

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
    found = {site: ClassMoments.empty(len(classes), model.d_model) for site in job.sites}
    norms = {site: torch.full((len(job.rows),), torch.nan) for site in job.sites}
    label = torch.from_numpy(numbers)
    for reading in shown(job, read(job), progress):
        owner = reading.rows if pool != "none" else reading.rows.repeat_interleave(job.counts[reading.rows])
        for site in job.sites:
            found[site] = found[site] + ClassMoments.of(reading.arrays[site], label[owner], k=len(classes))
            norms[site][reading.rows] = reading.norms[site]
    means = {site: float(norm.nanmean()) for site, norm in norms.items()}
    return Moments(found, classes, means, source_of(job, examples, truncate))


def _classes(examples: Examples, by: str | None) -> tuple[tuple[str | int, ...], Int[np.ndarray, " n"]]:
    if by is None:
        return ("all",), np.zeros(len(examples), dtype=np.int64)
    frame = examples.frame
    if by not in frame:
        raise DataError(f"No column {by!r} to tell classes by; available: {available(frame.columns)}, or by=None.")
    if frame[by].isna().any():
        raise DataError(
            f"Row {int(frame[by].isna().argmax())} has no value in column {by!r}, which tells the classes; leave such "
            "rows out, or give by=None."
        )
    values = sorted(set(frame[by].tolist()))
    return tuple(int(v) if isinstance(v, int | np.integer) else str(v) for v in values), frame[by].map(
        {value: number for number, value in enumerate(values)}
    ).to_numpy(dtype=np.int64)
