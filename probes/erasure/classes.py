"""Classes: what rows, a store or moments say about the classes of a concept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int

from lens.activations import Activations
from lens.class_moments import ClassMoments
from lens.errors import DataError, available
from lens.examples import Examples
from lens.moments import Moments
from lens.sites import Site
from lens.store import Store
from probes.scatter import Scatter

Values = tuple[str | int, ...]
# A few roundings of float32, in which activations are kept.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Rows:
    """Rows at a site, float64, with the number of the class each belongs to and its group."""

    values: Values
    X: Float[np.ndarray, "n d"]
    codes: Int[np.ndarray, " n"]
    groups: np.ndarray


@dataclass(frozen=True)
class Classes:
    """The value, number of rows and mean of each class, and the scatter of all rows around their common mean."""

    values: Values
    count: Float[np.ndarray, " k"]
    means: Float[np.ndarray, "k d"]
    make_scatter: Callable[[], Scatter]

    @cached_property
    def scatter(self) -> Scatter:
        """`Σ (x − μ)(x − μ)ᵀ`, made when asked for: a projection of means needs none."""
        return self.make_scatter()

    @property
    def n(self) -> int:
        return int(self.count.sum())

    @property
    def mean(self) -> Float[np.ndarray, " d"]:
        return self.count @ self.means / self.count.sum()

    def varying(self, rounding: float) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "d r"]]:
        """Eigenvalues and unit eigenvectors of the scatter along which the rows vary by more than their rounding, a
        share of the root mean square of their norm.

        Along all others they are constant as far as is known, and what is divided by such a variance is noise.
        """
        values, vectors = self.scatter.eigen()
        above = values > rounding**2 * (self.scatter.trace + self.n * float(self.mean @ self.mean))
        return values[above], vectors[:, above]

    @property
    def between(self) -> Float[np.ndarray, "d k"]:
        """Columns `√n_c (μ_c − μ)`, of which the scatter between the classes is the sum of squares."""
        return ((self.means - self.mean) * np.sqrt(self.count)[:, None]).T


def of_rows(rows: Rows) -> Classes:
    """The classes of rows in memory."""
    count = np.bincount(rows.codes, minlength=len(rows.values)).astype(float)
    member = np.zeros((len(rows.values), len(rows.X)))
    member[rows.codes, np.arange(len(rows.X))] = 1
    means = member @ rows.X / count[:, None]
    return Classes(rows.values, count, means, lambda: Scatter(rows=rows.X - rows.X.mean(axis=0)))


def of_moments(moments: Moments, site: str | Site, by: str) -> Classes:
    """The classes of moments. Raises DataError: moments by another column, or fewer than two classes with rows."""
    if moments.by != by:
        raise DataError(f"These are moments by {moments.by!r}; erase with by={moments.by!r}, or collect by={by!r}.")
    found = moments[site]
    present = (found.count > 0).numpy()
    values = _several([value for value, there in zip(moments.classes, present, strict=True) if there], by)
    count, means = found.count.numpy().astype(float)[present], found.mean.numpy()[present]
    _check_finite(means, site)
    return Classes(values, count, means, lambda: Scatter(matrix=found.total.scatter[0].numpy()))


def of_store(store: Store, acts: Activations, site: Site, by: str) -> Classes:
    """The classes of a store, shard by shard, in O(d²) memory."""
    values, codes = codes_of(acts.examples, by)
    total = ClassMoments.empty(1, acts.width)
    count, sums = torch.zeros(len(values)).double(), torch.zeros(len(values), acts.width).double()
    for number, (rows, block) in enumerate(store.blocks(site)):
        owner = torch.from_numpy(codes)[rows]
        if acts.mask is not None:
            owner = owner.repeat_interleave(store.read(number, "counts"))
        total.absorb(block, torch.zeros_like(owner))
        count.index_add_(0, owner, torch.ones(len(owner)).double())
        sums.index_add_(0, owner, block.double())
    means = (sums / count[:, None]).numpy()
    _check_finite(means, site)
    return Classes(values, count.numpy(), means, lambda: Scatter(matrix=total.scatter[0].numpy()))


def rows_of(acts: Activations, site: str | Site, by: str) -> Rows:
    """Rows in memory; of unpooled activations every token is one, of its text's class and group."""
    values, codes = codes_of(acts.examples, by)
    groups, array = acts.groups.astype(str), acts[site]
    if acts.mask is not None:
        length = acts.mask.sum(dim=1).numpy()
        codes, groups, array = np.repeat(codes, length), np.repeat(groups, length), array[acts.mask]
    X = array.numpy().astype(np.float64)
    _check_finite(X, site)
    return Rows(values, X, codes, groups)


def codes_of(examples: Examples, by: str) -> tuple[Values, Int[np.ndarray, " n"]]:
    """The classes a column tells, numbers first, and each row's number among them; as `collect_moments` tells them.

    Raises DataError: no such column, a missing value, or one class.
    """
    if by not in examples.frame:
        raise DataError(f"No column {by!r} to tell classes by; available: {available(examples.frame.columns)}.")
    column = examples.frame[by]
    if column.isna().any():
        raise DataError(f"Row {int(column.isna().argmax())} has no value in column {by!r}; leave such rows out.")
    named = [int(value) if isinstance(value, int | np.integer) else str(value) for value in column]
    values = _several(sorted(set(named), key=lambda value: (isinstance(value, str), value)), by)
    place = {value: number for number, value in enumerate(values)}
    return values, np.array([place[value] for value in named])


def _several(values: list[str | int], by: str) -> Values:
    if len(values) < 2:
        raise DataError(f"Erasing needs two classes or more; column {by!r} holds {available(values)}.")
    return tuple(values)


def _check_finite(array: np.ndarray, site: str | Site) -> None:
    if not np.isfinite(array).all():
        raise DataError(f"Activations at {site} hold values that are not finite (nan or infinite).")
