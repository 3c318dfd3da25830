"""Direction: a unit vector in the residual stream that knows where it came from."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens import documents
from lens.activations import Activations
from lens.errors import ArtifactError
from lens.model import Model
from lens.sites import Site
from probes.provenance import Provenance

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector `v` at a site, with what reading and steering along it need.

        score(h) = norm · (v · h) + bias,       above 0: more of the behaviour labelled 1

    vector: `[d_model]` float32, unit norm. norm, bias: of the probe it came from. residual_norm: mean norm of
    the tokens it was fitted on, BOS excluded (the unit of steering strength). difference: norm of the difference
    of class means. neutral: mean of `v · h` midway between the classes, which mean-ablation restores. log_odds: whether
    the score is the log-odds of label 1, as a logistic probe's.

    Made by `probes.fit`, or `Direction.from_vector`.
    """

    vector: Float[Tensor, " d"]
    site: Site
    norm: float
    bias: float
    residual_norm: float
    difference: float
    neutral: float
    provenance: Provenance = field(default_factory=Provenance)
    log_odds: bool = False

    def __repr__(self) -> str:
        where = f" of {self.provenance.model!r}" if self.provenance.model else ""
        return f"Direction({self.provenance.method} at {self.site}{where}, d={len(self.vector)})"

    @classmethod
    def from_vector(
        cls,
        vector: Any,
        site: Site | str,
        *,
        model: Model | None = None,
        bias: float = 0.0,
        residual_norm: float = float("nan"),
        difference: float = float("nan"),
        neutral: float = float("nan"),
    ) -> "Direction":
        """A direction from a bare vector. Without `model` it fits any model of its width.

        Raises ArtifactError: not a vector, not finite, zero, or not of the model's width. SiteError: a site
        without a layer, or one the model does not have.
        """
        raw = torch.as_tensor(vector).detach().float().cpu()
        if raw.ndim != 1 or not torch.isfinite(raw).all() or raw.norm() == 0:
            raise ArtifactError(f"A direction is a finite, non-zero vector [d]; given: shape {list(raw.shape)}.")
        if model is not None and len(raw) != model.d_model:
            raise ArtifactError(f"The vector has {len(raw)} entries; {model.name} has width {model.d_model}.")
        if isinstance(site, str):
            site = Site.parse(site, n_layers=model.n_layers if model else None)
        norm = float(raw.norm())
        known = Provenance(model=model.name, fingerprint=model.fingerprint) if model else Provenance()
        return cls(raw / norm, site, norm, bias, residual_norm, difference, neutral, known)

    def score(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """`norm · (v · h) + bias`; shape of `h` without its last axis."""
        return self.norm * (h.float() @ self.vector.to(h.device)) + self.bias

    def project(self, h: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """`v · h`, in the residual stream's own units."""
        return h.float() @ self.vector.to(h.device)

    def score_activations(self, acts: Activations, *, other_model: bool = False) -> Float[Tensor, "n *tokens"]:  # noqa: F821
        """Scores of collected activations at this direction's site, of every token where they are unpooled.

        Raises SiteError where the site was not collected, ArtifactError where they come from another model
        (unless `other_model=True`).
        """
        array = acts[self.site]
        self.check(acts.source.fingerprint, array.shape[-1], acts.source.model, other_model=other_model)
        return self.score(array)

    def check(self, fingerprint: str, width: int, name: str, *, other_model: bool = False) -> None:
        """Raises ArtifactError where a model's base fingerprint differs (unless allowed), or its width."""
        own = len(self.vector)
        self.provenance.check(
            "direction", own, fingerprint=fingerprint, width=width, name=name, other_model=other_model
        )

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        """As `check`, for a model; also that the model has the direction's site."""
        self.check(model.fingerprint, model.d_model, model.name, other_model=other_model)
        model.sites(self.site)

    def __mul__(self, factor: float) -> "Direction":
        """`factor` times the score; a negative factor turns the direction round."""
        if not math.isfinite(factor) or factor == 0:
            raise ArtifactError(f"A direction times {factor} is no direction.")
        sign = math.copysign(1.0, factor)
        return replace(
            self,
            vector=sign * self.vector,
            norm=abs(factor) * self.norm,
            bias=factor * self.bias,
            neutral=sign * self.neutral,
            provenance=replace(self.provenance, method=f"{factor:g} · {self.provenance.method}"),
            # Minus the log-odds of something are those of its opposite.
            log_odds=self.log_odds and abs(factor) == 1,
        )

    __rmul__ = __mul__

    def __neg__(self) -> "Direction":
        return self * -1.0

    def __add__(self, other: "Direction") -> "Direction":
        """The direction whose score is the sum of both scores.

        `difference` and `neutral` of a sum are unknown (nan); see `recentred`. Raises ArtifactError: another site,
        width or model, or directions that cancel out.
        """
        self.check_same_place(other)
        total = self.norm * self.vector.double() + other.norm * other.vector.double()
        norm = float(total.norm())
        if norm <= 1e-6 * (self.norm + other.norm):
            raise ArtifactError(f"{self!r} and {other!r} cancel out.")
        nan = float("nan")
        return replace(
            self,
            vector=(total / norm).float(),
            norm=norm,
            bias=self.bias + other.bias,
            residual_norm=(self.residual_norm + other.residual_norm) / 2,
            difference=nan,
            neutral=nan,
            provenance=self.provenance.joined(other.provenance),
            log_odds=False,
        )

    def __sub__(self, other: "Direction") -> "Direction":
        return self + (-other)

    def cosine(self, other: "Direction") -> float:
        """`v · u`. Raises ArtifactError where the widths differ."""
        if len(self.vector) != len(other.vector):
            raise ArtifactError(f"Directions of width {len(self.vector)} and {len(other.vector)} have no cosine.")
        return float(self.vector.double() @ other.vector.double())

    def without(self, *others: "Direction") -> "Direction":
        """What is left of the direction when the span of others is projected out, `v − UUᵀv`, normalised.

        Its threshold, difference and neutral value are unknown (nan) until `recentred`. Raises ArtifactError where
        nothing is left, or a site or model differs.
        """
        for other in others:
            self.check_same_place(other)
        span = basis_of(others)
        left = self.vector.double() - span @ (span.T @ self.vector.double())
        size, nan = float(left.norm()), float("nan")
        if size < 1e-6:
            raise ArtifactError(f"{self!r} lies in the span of the others: nothing is left of it.")
        names = ", ".join(other.provenance.method for other in others)
        known = replace(self.provenance, method=f"{self.provenance.method} without ({names})")
        return replace(
            self,
            vector=(left / size).float(),
            norm=self.norm * size,
            bias=nan,
            difference=nan,
            neutral=nan,
            provenance=known,
            log_odds=False,
        )

    def recentred(self, acts: Activations, *, other_model: bool = False) -> "Direction":
        """The same direction with threshold, neutral value and norms from labelled activations: the score is 0 midway
        between the class means, `difference` is the distance of the means along it."""
        self.check(acts.source.fingerprint, len(self.vector), acts.source.model, other_model=other_model)
        along = self.project(acts[self.site]).double()
        low, high = (float(along[torch.from_numpy(acts.labels == value)].mean()) for value in (0, 1))
        middle = (low + high) / 2
        return replace(
            self,
            bias=-self.norm * middle,
            residual_norm=acts.residual_norm(self.site),
            difference=abs(high - low),
            neutral=middle,
            log_odds=False,
        )

    def check_same_place(self, other: "Direction") -> None:
        """Raises ArtifactError where two directions cannot be combined: another site, width or model."""
        if self.site != other.site or len(self.vector) != len(other.vector):
            raise ArtifactError(
                f"Directions at {self.site} (width {len(self.vector)}) and {other.site} (width {len(other.vector)}) "
                "cannot be combined; .at(site) moves one."
            )
        own, theirs = (one.provenance.fingerprint.split("+")[0] for one in (self, other))
        if own and theirs and own != theirs:
            raise ArtifactError(f"Directions of different models ({own} and {theirs}) cannot be combined.")

    def random_like(self, seed: int) -> "Direction":
        """A random unit vector with this direction's site and norms: the control of equal size.

        Its neutral value is unknown (nan): nothing was projected on it.
        """
        generator = torch.Generator().manual_seed(seed)
        vector = torch.randn(len(self.vector), generator=generator)
        known = replace(self.provenance, method=f"random like {self.provenance.method}", seed=seed)
        nan = float("nan")
        return replace(self, vector=vector / vector.norm(), bias=0.0, neutral=nan, provenance=known, log_odds=False)

    def hash(self) -> str:
        """A short content hash of the vector, its site and its norms; of where it came from, nothing."""
        facts = [str(self.site), self.norm, self.bias, self.residual_norm, self.difference, self.neutral, self.log_odds]
        return hashlib.sha256(repr(facts).encode() + self.vector.double().numpy().tobytes()).hexdigest()[:16]

    def at(self, site: Site | str) -> "Direction":
        """The same vector at another site."""
        return replace(self, site=Site.parse(site), log_odds=False)

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; everything but the vector is JSON in its header."""
        return documents.write(path, {"vector": self.vector}, direction=self.header())

    def header(self) -> dict[str, Any]:
        """What its file says besides the vector."""
        facts = {name: value for name, value in asdict(self).items() if name not in ("vector", "site")}
        return facts | {"format": FORMAT, "site": str(self.site)}

    @classmethod
    def load(cls, path: str | Path) -> "Direction":
        """Read what `save` wrote. Raises ArtifactError: no such file, or not a direction of this format."""

        def make(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Direction:
            site, provenance = Site.parse(facts.pop("site")), Provenance(**facts.pop("provenance"))
            return cls(vector=tensors["vector"], site=site, provenance=provenance, **facts)

        return documents.read(path, "direction", make, what="direction", format=FORMAT)


def basis_of(directions: Sequence[Direction]) -> Float[Tensor, "d k"]:
    """An orthonormal basis of what directions span, float64."""
    # Not QR: of directions that depend on each other it would make one up.
    basis, size, _ = torch.linalg.svd(torch.stack([one.vector.double() for one in directions], dim=1), False)
    return basis[:, size > 1e-6 * size[0]]
