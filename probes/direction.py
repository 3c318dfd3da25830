"""Direction: a unit vector in the residual stream that knows where it came from."""

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.activations import Activations, Source
from lens.errors import ArtifactError
from lens.model import Model
from lens.sites import Site

FORMAT = 1


@dataclass(frozen=True)
class Provenance:
    """How a direction was made. Empty fields are unknown (a direction from a bare vector)."""

    method: str = "vector"
    model: str = ""
    fingerprint: str = ""
    span: str = ""
    pool: str = ""
    data: str = ""
    n: int = 0
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector `v` at a site, with what reading and steering along it need.

        score(h) = norm · (v · h) + bias,       above 0: more of the behaviour labelled 1

    vector: `[d_model]` float32, unit norm. norm, bias: of the probe it came from. residual_norm: mean norm of
    the tokens it was fitted on, BOS excluded (the unit of steering strength). difference: norm of the difference
    of class means. neutral: mean of `v · h` midway between the classes, which mean-ablation restores.

    Made by `probes.fit`, or `Direction.from_vector`.
    """

    vector: Float[Tensor, " d"]
    site: Site
    norm: float
    bias: float
    residual_norm: float
    difference: float
    neutral: float
    provenance: Provenance = Provenance()

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

    def score_activations(self, acts: Activations, *, other_model: bool = False) -> Float[Tensor, " n"]:
        """Scores of collected activations at this direction's site.

        Raises SiteError where the site was not collected, ArtifactError where they come from another model
        (unless `other_model=True`).
        """
        array = acts[self.site]
        self.check(acts.source.fingerprint, array.shape[-1], acts.source.model, other_model=other_model)
        return self.score(array)

    def check(self, fingerprint: str, width: int, name: str, *, other_model: bool = False) -> None:
        """Raises ArtifactError where a model's base fingerprint differs (unless allowed), or its width."""
        if width != len(self.vector):
            raise ArtifactError(f"The direction has width {len(self.vector)}; {name} has width {width}.")
        own, given = (print_.split("+")[0] for print_ in (self.provenance.fingerprint, fingerprint))
        if own and own != given and not other_model:
            raise ArtifactError(
                f"The direction was fitted on {self.provenance.model!r} (fingerprint {own}); {name!r} has "
                f"fingerprint {given}. Pass other_model=True to use it there all the same."
            )

    def check_model(self, model: Model, *, other_model: bool = False) -> None:
        """As `check`, for a model; also that the model has the direction's site."""
        self.check(model.fingerprint, model.d_model, model.name, other_model=other_model)
        model.sites(self.site)

    def random_like(self, seed: int) -> "Direction":
        """A random unit vector with this direction's site and norms: the control of equal size.

        Its neutral value is unknown (nan): nothing was projected on it.
        """
        generator = torch.Generator().manual_seed(seed)
        vector = torch.randn(len(self.vector), generator=generator)
        known = replace(self.provenance, method=f"random like {self.provenance.method}", seed=seed)
        nan = float("nan")
        return replace(self, vector=vector / vector.norm(), bias=0.0, neutral=nan, provenance=known)

    def at(self, site: Site | str) -> "Direction":
        """The same vector at another site."""
        return replace(self, site=Site.parse(site))

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; everything but the vector is JSON in its header."""
        from safetensors.torch import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {name: value for name, value in asdict(self).items() if name not in ("vector", "site")}
        facts |= {"format": FORMAT, "site": str(self.site)}
        part = path.with_name(path.name + ".part")
        save_file({"vector": self.vector.contiguous()}, part, metadata={"direction": json.dumps(facts)})
        part.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Direction":
        """Read what `save` wrote. Raises ArtifactError: no such file, or not a direction of this format."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                facts = json.loads((file.metadata() or {})["direction"])
                vector = file.get_tensor("vector")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ArtifactError(f"{path} is not a saved direction: {error}") from error
        if facts.pop("format", None) != FORMAT:
            raise ArtifactError(f"{path} has another format; this version reads format {FORMAT}.")
        try:
            site = Site.parse(facts.pop("site"))
            provenance = Provenance(**facts.pop("provenance"))
            return cls(vector=vector, site=site, provenance=provenance, **facts)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: its header is not a direction's ({error!r:.200}).") from error


def provenance_of(source: Source, n: int, *, method: str, seed: int | None = None) -> Provenance:
    """The provenance of something fitted on `n` rows of these activations."""
    return Provenance(
        method=method,
        model=source.model,
        fingerprint=source.fingerprint,
        span=source.span,
        pool=source.pool,
        data=source.data,
        n=n,
        seed=seed,
        versions=source.versions | {"scikit-learn": version("scikit-learn")},
    )
