"""Eraser: an affine map of the residual stream that takes a concept out, and knows where it came from."""

import hashlib
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens import documents
from lens.activations import Activations
from lens.errors import DataError, available
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from probes.provenance import Provenance

FORMAT = 1
_TENSORS = ("removed", "reading", "mean", "class_means")


@dataclass(frozen=True, eq=False)
class Eraser:
    """An affine projection at a site, in factored form.

        r(h) = h − L Rᵀ (h − μ),      RᵀL = I

    removed: L `[d, k]`, orthonormal, the directions that h moves along. reading: R `[d, k]`, what decides how far
    (R = L where the projection is orthogonal). mean: μ `[d]`, which stays where it is. by, classes, class_means
    `[classes, d]`: the concept. residual_norm: as of a `Direction`. All float64. Erasing twice changes nothing more.

    Made by `probes.erase`.
    """

    site: Site
    removed: Float[Tensor, "d k"]
    reading: Float[Tensor, "d k"]
    mean: Float[Tensor, " d"]
    by: str
    classes: tuple[str | int, ...]
    class_means: Float[Tensor, "classes d"]
    residual_norm: float
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def rank(self) -> int:
        """How many dimensions are taken out; 0 where there was nothing to erase."""
        return self.removed.shape[1]

    def __repr__(self) -> str:
        where = f" of {self.provenance.model!r}" if self.provenance.model else ""
        what = f"{self.provenance.method} of {self.by!r} at {self.site}{where}"
        return f"Eraser({what}, d={self.width}, rank {self.rank}{'' if self.rank else ': nothing to erase'})"

    def __call__(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """`h − L Rᵀ (h − μ)` in O(dk) a row, in the dtype and on the device of h; at least float32 inside."""
        inside = torch.promote_types(h.dtype, torch.float32)
        removed, reading, mean = (part.to(inside).to(h.device) for part in (self.removed, self.reading, self.mean))
        wide = h.to(inside)
        return (wide - (wide - mean) @ reading @ removed.T).to(h.dtype)

    def oracle(
        self, h: Float[Tensor, "n *tokens d"], labels: "Sequence[str | int] | np.ndarray"
    ) -> Float[Tensor, "n *tokens d"]:
        """Oracle LEACE, where the class of each row is known: `h − (μ_c − μ)`.

        It gives all classes one mean with the least change there can be, less than any map of h alone; the method the
        eraser was fitted with does not matter. Raises DataError: not one label per row, or an unknown class.

        Source: Belrose et al. (2023), section 4.4, for one-hot labels.
        """
        place = {value: number for number, value in enumerate(self.classes)}
        given = np.asarray(labels).tolist()
        if len(given) != len(h):
            raise DataError(f"{len(h)} rows need as many labels; given: {len(given)}.")
        if unknown := sorted({str(value) for value in given if value not in place}):
            raise DataError(f"Unknown classes: {available(unknown)}; available: {available(self.classes)}.")
        inside = torch.promote_types(h.dtype, torch.float32)
        shift = (self.class_means - self.mean)[[place[value] for value in given]].to(inside).to(h.device)
        return (h.to(inside) - shift.reshape(len(h), *[1] * (h.ndim - 2), -1)).to(h.dtype)

    def erase(self, acts: Activations, *, other_model: bool = False) -> Activations:
        """Activations with this site erased; the other sites, and the norms, are those of before.

        The fingerprint says so, after the model's own. Raises SiteError where the site was not collected, ArtifactError
        where they come from another model (unless `other_model=True`).
        """
        array = acts[self.site]
        self.check(acts.source.fingerprint, array.shape[-1], acts.source.model, other_model=other_model)
        source = replace(acts.source, fingerprint=f"{acts.source.fingerprint}+{self.name}")
        return replace(acts, arrays=ChainMap({self.site: self(array)}, acts.arrays), source=source)  # type: ignore[arg-type]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that are taken out: columns of L, scored from midway between the class means. For two classes
        the one direction points to the second and knows how far the means are apart."""
        middle = self.class_means.mean(dim=0)
        apart = (self.class_means[-1] - self.class_means[0]) @ self.removed
        return tuple(
            Direction(
                vector=(vector / vector.norm()).float(),
                site=self.site,
                norm=1.0,
                bias=-float(vector @ middle),
                residual_norm=self.residual_norm,
                difference=abs(float(apart[number])) if len(self.classes) == 2 else float("nan"),
                neutral=float(vector @ middle),
                provenance=self.provenance,
            )
            for number, vector in enumerate(self.removed.T)
        )

    @property
    def matrix(self) -> Float[Tensor, "d d"]:
        """`P = I − L Rᵀ`, for `r(h) = P h + offset`."""
        return torch.eye(self.width, dtype=self.removed.dtype) - self.removed @ self.reading.T

    @property
    def offset(self) -> Float[Tensor, " d"]:
        """`L Rᵀ μ`."""
        return self.removed @ (self.reading.T @ self.mean)

    @property
    def name(self) -> str:
        """A short name of its content, as edits have in fingerprints."""
        digest = hashlib.sha256(str(self.site).encode())
        for part in (self.removed, self.reading, self.mean):
            digest.update(part.contiguous().numpy().tobytes())
        return f"erased-{digest.hexdigest()[:12]}"

    def check(self, fingerprint: str, width: int, name: str, *, other_model: bool = False) -> None:
        """Raises ArtifactError where a model's base fingerprint differs (unless allowed), or its width."""
        self.provenance.check(
            "eraser", self.width, fingerprint=fingerprint, width=width, name=name, other_model=other_model
        )

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        """As `check`, for a model; also that the model has the eraser's site."""
        self.check(model.fingerprint, model.d_model, model.name, other_model=other_model)
        model.sites(self.site)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; everything but the tensors is JSON in its header."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        facts = {
            "format": FORMAT,
            "site": str(self.site),
            "by": self.by,
            "classes": self.classes,
            "residual_norm": self.residual_norm,
            "provenance": asdict(self.provenance),
        }
        return documents.write(path, tensors, eraser=facts)

    @classmethod
    def load(cls, path: str | Path) -> "Eraser":
        """Read what `save` wrote. Raises ArtifactError: no such file, or not an eraser of this format."""

        def make(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Eraser:
            site, classes = Site.parse(facts.pop("site")), tuple(facts.pop("classes"))
            provenance = Provenance(**facts.pop("provenance"))
            facts |= {name: tensors[name] for name in _TENSORS}
            return cls(site=site, classes=classes, provenance=provenance, **facts)

        return documents.read(path, "eraser", make, what="eraser", format=FORMAT)
