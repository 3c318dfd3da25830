"""Class moments: count, mean and scatter of the rows of each class, which can be joined."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import DataError


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
        found.absorb(values, classes)
        return found

    def absorb(self, values: Float[Tensor, "n d"], classes: Int[Tensor, " n"]) -> None:
        """Join rows in place: `self + ClassMoments.of(values, classes)` without another `[k, d, d]`."""
        for number in classes.unique().tolist():
            rows = values[classes == number].double()
            before, new = int(self.count[number]), len(rows)
            mean = rows.mean(dim=0)
            step = mean - self.mean[number]
            # The step between the means counts as one more centred row.
            apart = step * math.sqrt(before * new / (before + new))
            part = torch.cat([rows - mean, apart[None]])
            self.scatter[number].addmm_(part.T, part)
            self.mean[number] += step * (new / (before + new))
            self.count[number] += new

    def __add__(self, other: "ClassMoments") -> "ClassMoments":
        if self.mean.shape != other.mean.shape:
            raise DataError(f"Moments of shapes {list(self.mean.shape)} and {list(other.mean.shape)} cannot be joined.")
        count = self.count + other.count
        share = other.count.double() / count.clamp(min=1)
        step = other.mean - self.mean
        outer = step[:, :, None] * step[:, None, :]
        return ClassMoments(
            count,
            self.mean + step * share[:, None],
            self.scatter + other.scatter + outer * (self.count * share)[:, None, None],
        )

    def spread(self, places: Int[Tensor, " k"], *, k: int) -> "ClassMoments":
        """The same among `k` classes, of which these are number `places`; the others are empty."""
        found = ClassMoments.empty(k, self.mean.shape[1])
        found.count[places], found.mean[places], found.scatter[places] = self.count, self.mean, self.scatter
        return found

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
