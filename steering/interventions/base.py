"""What every intervention shares: a frozen object with sites, a span of tokens and a strength, that is a pure function.

Calling it on `h[..., d_model]` gives the changed `h` and touches nothing else. `steering.apply` puts it into a model.
"""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import ArtifactError, SiteError, SpanError, available
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from probes.direction import Direction
from steering.interventions.gate import Rule

Unit = Literal["norm", "difference", "raw"]
Amount = float | Sequence[float] | np.ndarray | Tensor
Strength = Amount | Mapping[Any, Amount]
Sites = Sequence[Site | str]
DEFAULT_SPAN = "prompt[-1]:"


class Intervention(ABC):
    """A change of the residual stream; each kind is a frozen dataclass.

    strength: a number, or one per row (`[rows]`); or, for several sites, a dictionary from each site to its strength.
    span: tokens it acts on, by default from the last prompt token through everything generated. sites: where it acts,
    by default where what it is made of was read. when: rows it acts on, a gate or gates joined by &, | and ~; by
    default all.
    """

    strength: Strength
    span: str | Span
    sites: Sites
    when: Rule | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "span", Span.parse(self.span))
        if self.when is not None and not isinstance(self.when, Rule):
            raise ArtifactError(f"when= takes a Gate, or gates joined by & | ~; given: {type(self.when).__name__}.")
        sites = [self.sites] if isinstance(self.sites, str | Site) else self.sites
        object.__setattr__(self, "sites", tuple(Site.parse(site) for site in sites))
        if not isinstance(self.strength, Mapping):
            object.__setattr__(self, "strength", _amount(self.strength))
            return
        schedule = {Site.parse(site): _amount(amount) for site, amount in self.strength.items()}
        if not schedule or self.sites not in ((), tuple(schedule)):
            raise SiteError(
                f"Strengths were given for {available(schedule)} and sites={available(self.sites)}; give either sites= "
                "and one strength for all, or a strength for each site."
            )
        object.__setattr__(self, "strength", schedule)
        object.__setattr__(self, "sites", tuple(schedule))

    @property
    @abstractmethod
    def home(self) -> tuple[Site, ...]:
        """Where what it is made of was read."""

    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """What it is made of, beside its settings."""

    @abstractmethod
    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        """Raises ArtifactError where it was made for another model or width, SiteError for a site it does not have."""

    @abstractmethod
    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """The changed residual stream, in the dtype it came in."""

    @property
    def identifier(self) -> str:
        """A short content hash of what it does, after the name of its kind."""
        # Tensors and directions by what they hold, of which their representations show little.
        held = {name: value for name, value in vars(self).items() if name != "strength"}
        plain = {name: value for name, value in held.items() if not isinstance(value, Tensor)}
        digest = hashlib.sha256(repr(plain).encode())
        for tensor in self.tensors():
            digest.update(tensor.detach().cpu().double().contiguous().numpy().tobytes())
        for value in held.values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Direction):
                    digest.update(one.hash().encode())
        for gate in () if self.when is None else self.when.gates:
            digest.update(gate.direction.vector.double().numpy().tobytes())
        for amount in self.strength.values() if isinstance(self.strength, Mapping) else [self.strength]:
            digest.update(torch.as_tensor(amount, dtype=torch.float64).contiguous().numpy().tobytes())
        return f"{type(self).__name__}:{digest.hexdigest()[:8]}"

    def places(self, model: Model) -> list[Site]:
        """Where it acts in this model. Raises SiteError where the model has no such site."""
        return model.sites(list(self.sites or self.home))

    @property
    def differs_by_row(self) -> bool:
        """Whether `at_rows` makes a difference."""
        return isinstance(self.strength, Tensor)

    def at_site(self, site: Site) -> "Intervention":
        """The same with the strength of this site only."""
        return self._with(strength=self.strength[site], sites=(site,)) if isinstance(self.strength, Mapping) else self

    def at_rows(self, rows: Int[Tensor, " batch"], total: int) -> "Intervention":
        """The same with the strengths of these rows, of `total`, only. Raises SpanError: not one strength per row."""
        if isinstance(self.strength, Tensor):
            if len(self.strength) != total:
                raise SpanError(f"{len(self.strength)} strengths were given for {total} rows; give one per row.")
            return self._with(strength=self.strength.to(rows.device)[rows])
        return self

    def _with(self, **fields: Any) -> "Intervention":
        """The same with these fields, which come from fields that were checked."""
        changed = copy.copy(self)
        for name, value in fields.items():
            object.__setattr__(changed, name, value)
        return changed

    def _amount(self, h: Tensor) -> "float | Tensor":
        """The strength, shaped to multiply `h`."""
        if isinstance(self.strength, Tensor):
            return self.strength.to(h.device, torch.float32).reshape(-1, *[1] * (h.ndim - 1))
        if isinstance(self.strength, int | float):
            return self.strength
        raise SiteError(
            f"A strength for each of {available(self.sites)}: .at_site(site) gives the one that acts there."
        )

    def _toward(self, h: Tensor, wanted: Tensor) -> Tensor:
        """From `h` the way to what is wanted as far as the strength goes, in the dtype of `h`."""
        return torch.lerp(h.float(), wanted, torch.as_tensor(self._amount(h), device=h.device).float()).to(h.dtype)


@dataclass(frozen=True, eq=False)
class Directional(Intervention):
    """A change along one direction."""

    direction: Direction
    strength: Strength = 1.0
    span: str | Span = DEFAULT_SPAN
    sites: Sites = ()
    when: Rule | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_directions(type(self).__name__, [self.direction])
        super().__post_init__()

    @property
    def home(self) -> tuple[Site, ...]:
        return (self.direction.site,)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.direction.vector,)

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        self.direction.check_model(model, other_model=other_model)


def _amount(given: Amount) -> float | Tensor:
    """Raises SpanError: not one per row. ArtifactError: not finite."""
    amount = torch.as_tensor(given, dtype=torch.float32 if not isinstance(given, int | float) else torch.float64)
    if amount.ndim > 1:
        raise SpanError(f"A strength is a number or one per row; given: shape {list(amount.shape)}.")
    if not bool(amount.isfinite().all()):
        raise ArtifactError(f"A strength is finite; given: {given}.")
    return amount if amount.ndim else float(amount)


def check_directions(name: str, directions: Sequence[Any]) -> None:
    for direction in directions:
        if not isinstance(direction, Direction):
            raise ArtifactError(
                f"{name} needs a Direction; given: {type(direction).__name__} "
                "(a fitted probe has one: probe.direction)."
            )


def writers(model: Model) -> tuple[Site, ...]:
    """Every place that writes to the residual stream: embeddings (`resid_pre.0`), each attention and each MLP."""
    sites: list[Any] = ["resid_pre.0", "attn_out", "mlp_out"]
    return tuple(model.sites(sites))
