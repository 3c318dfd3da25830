"""Model surgery: the few gate rows that are turned against a behaviour, pulled towards it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from lens.errors import ArtifactError, ModelError, available
from lens.model import Model
from probes.direction import Direction
from steering.edits.change import Change, Plan, named
from steering.edits.delta import Delta
from steering.edits.gates import Rows, gate_rows

Order = Literal["lowest", "highest", "random"]
Matrix = Literal["gate", "up"]
# Beyond this many standard errors a cut-off is not that of random rows.
EXCESS = 5.0


@dataclass(frozen=True)
class Selection:
    """Rows chosen over all layers together, and whether they stand out.

    rows: layer to rows, of `of` in all. cutoff: the cosine of the last row taken. chance: what it would be for random
    rows, the quantile of cos, (cos + 1)/2 ~ Beta((d − 1)/2, (d − 1)/2), about Φ⁻¹(K/N)/√d; excess: how many of its
    standard errors the cut-off lies beyond it. nan where rows were not chosen by their cosine.
    """

    rows: dict[int, list[int]]
    of: int
    cutoff: float
    chance: float
    excess: float

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))

    @property
    def pairs(self) -> set[tuple[int, int]]:
        """(layer, row), to compare selections by."""
        return {(layer, row) for layer, rows in self.rows.items() for row in rows}


@dataclass(frozen=True, eq=False)
class Surgery(Change):
    """Model surgery: rows of the gate matrices, chosen by a probe and moved along it.

        r ← r + alpha · w        for the K rows r of all layers together with the lowest cos(r, w)

    w: the raw row. Of a Direction `norm · v`, its probe's coefficients as they act on the residual stream itself, not
    on standardised activations (`Logistic` standardises inside and gives its coefficients back in the stream's
    coordinates). Of a vector `[d]` that vector. The row of the paper is that of one class of a two-class softmax, about
    half the coefficients of our log-odds, so that its alpha 1 is about 0.5 here. No gain of the norm before the MLP is
    folded in, as in the paper.

    rows: K, a number, a share of all rows (.0465 in the paper), or the `Selection` of another surgery (`select`).
    order: `lowest` (the method), or the controls `highest` and `random` (by `seed`). matrix: `gate`, or `up`. layers:
    to choose from; by default all. A rising alpha need not do rising good: a gate that opens from far below first
    pushes the wrong way, as SiLU dips to −.28 at −1.28.

    Raises ArtifactError: a vector, number or name that cannot be used. ModelError: MLPs without gates, or of experts.

    Source: Model Surgery, arXiv 2407.08770 (2024), §3.
    """

    probe: Direction | Float[Tensor, " d"] | Float[np.ndarray, " d"]
    rows: int | float | Selection = 0.0465
    alpha: float = 1.0
    matrix: Matrix = "gate"
    order: Order = "lowest"
    layers: Sequence[int] | None = None
    seed: int = 0
    _row: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        probe = self.probe
        row = probe.norm * probe.vector.double() if isinstance(probe, Direction) else torch.as_tensor(probe).double()
        if row.ndim != 1 or not bool(row.isfinite().all()) or not float(row.norm()) > 0:
            raise ArtifactError(f"Surgery needs a finite, non-zero row [d]; given: shape {list(row.shape)}.")
        if not torch.tensor(self.alpha).isfinite():
            raise ArtifactError(f"alpha is finite; given: {self.alpha}.")
        for name, given, known in (("matrix", self.matrix, Matrix), ("order", self.order, Order)):
            if given not in known.__args__:  # type: ignore[attr-defined]
                raise ArtifactError(f"Unknown {name} {given!r}; available: {available(known.__args__)}.")  # type: ignore[attr-defined]
        object.__setattr__(self, "_row", row.cpu())

    @property
    def name(self) -> str:
        rows = sorted(self.rows.pairs) if isinstance(self.rows, Selection) else self.rows
        settings = (rows, self.alpha, self.matrix, self.order, self.layers and tuple(self.layers), self.seed)
        return named("surgery", settings, [self._row])

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        if isinstance(self.probe, Direction):
            self.probe.check_model(model, other_model=other_model)
        elif len(self._row) != model.d_model:
            raise ArtifactError(f"The row has width {len(self._row)}; {model.name} has width {model.d_model}.")

    def select(self, model: Model) -> Selection:
        """The rows that it would change in the model as it now is."""
        if isinstance(self.rows, Selection):
            return self.rows
        layers = range(model.n_layers) if self.layers is None else self.layers
        if not layers:
            raise ModelError(f"layers={layers!r} names no block; None chooses from all.")
        _check_layers(model, layers)
        places = [(layer, gate_rows(model, layer, self.matrix)) for layer in sorted(set(layers))]
        cosine = torch.cat([_cosines(rows, self._row) for _, rows in places])
        owner = torch.cat([torch.full((len(rows),), layer) for layer, rows in places])
        inside = torch.cat([torch.arange(len(rows)) for _, rows in places])
        chosen = self._chosen(cosine)
        found = {
            int(layer): inside[chosen][owner[chosen] == layer].sort().values.tolist()
            for layer in owner[chosen].unique()
        }
        if self.order == "random":
            return Selection(found, len(cosine), float("nan"), float("nan"), float("nan"))
        chance, error = _chance(len(chosen), len(cosine), len(self._row))
        sign = 1 if self.order == "lowest" else -1
        cutoff = float(cosine[chosen[-1]])
        return Selection(found, len(cosine), cutoff, sign * chance, (chance - sign * cutoff) / error)

    def _chosen(self, cosine: Float[Tensor, " n"]) -> Tensor:
        """Numbers of the rows to take, the last being the least extreme."""
        assert not isinstance(self.rows, Selection)
        total = len(cosine)
        wanted = self.rows if isinstance(self.rows, int) else round(self.rows * total)
        if isinstance(self.rows, bool) or not 0 < wanted <= total:
            raise ArtifactError(
                f"rows={self.rows}: a number from 1 to {total}, or a share of them between 0 and 1, is needed."
            )
        if self.order == "random":
            return torch.randperm(total, generator=torch.Generator().manual_seed(self.seed))[:wanted]
        return cosine.argsort(stable=True, descending=self.order == "highest")[:wanted]

    def plan(self, model: Model) -> Plan:
        selection = self.select(model)
        _check_layers(model, selection.rows)
        if selection.excess < EXCESS:
            warnings.warn(
                f"The cut-off cosine {selection.cutoff:.3f} of these {selection.count} rows is what random rows would "
                f"have ({selection.chance:.3f}): the probe points at no region of the {self.matrix} matrices.",
                stacklevel=3,
            )
        deltas = [self._delta(gate_rows(model, layer, self.matrix), rows) for layer, rows in selection.rows.items()]
        note = f"{selection.count} of {selection.of} {self.matrix} rows moved; no intervention at a site does the same."
        details: dict[str, Any] = {"matrix": self.matrix, "order": self.order, "alpha": self.alpha}
        details |= {name: value for name, value in asdict(selection).items() if name != "rows"}
        details["rows"] = [list(pair) for pair in sorted(selection.pairs)]
        return Plan(tuple(deltas), exact=False, note=note, details=details)

    def _delta(self, place: Rows, rows: list[int]) -> Delta:
        if rows and not 0 <= min(rows) <= max(rows) < len(place):
            raise ModelError(f"{place.parameter} has {len(place)} rows; the selection names {max(rows)}.")
        amount = torch.full((1, len(rows)), -self.alpha, dtype=torch.float64)
        return Delta(place.parameter, -1, self._row[None], amount, torch.tensor(rows) + place.start, adds=True)


def _check_layers(model: Model, layers: Iterable[int]) -> None:
    if unknown := [layer for layer in layers if layer not in range(model.n_layers)]:
        raise ModelError(f"Blocks {available(unknown)} are not there; {model.name} has 0 to {model.n_layers - 1}.")


def _cosines(rows: Rows, row: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
    weight = rows.weight.detach()
    unit = (row / row.norm()).to(weight.device)
    # A row of zeros has no direction: it counts as one at right angles.
    found = [part.double() @ unit / part.double().norm(dim=1).clamp(min=1e-300) for part in weight.split(4096)]
    return torch.cat(found).cpu()


def _chance(chosen: int, total: int, width: int) -> tuple[float, float]:
    """The cosine below which this many of random rows lie, and its standard error √(p(1 − p)/N)/density."""
    half, share = (width - 1) / 2, min(chosen / total, 1 - 0.5 / total)
    quantile = stats.beta.ppf(share, half, half)
    error = (share * (1 - share) / total) ** 0.5 / stats.beta.pdf(quantile, half, half)
    return float(2 * quantile - 1), float(2 * error)
