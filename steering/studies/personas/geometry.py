"""Geometry: directions of traits and of refusal at every layer, and how they lie to each other.

    v_t    coefficient of trait t in the least-squares fit of the personas' mean states by their signs, on checks of t
    r      mean state of harmful requests less that of harmless ones, with no persona
    a_t = cos(v_t, r)          Σ_t p_t a_t: the refusal that persona p is predicted to gain

All at the last token of the prompt, on the training part. Where every trait is crossed with every other, v_t is the
difference of the personas that have it and those that have its opposite.

Source: the combination of trait vectors and the alignment are operationalised here; Persona Non Grata (2026) publishes
neither (known from its abstract alone).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.collect import collect
from lens.errors import DataError
from lens.model import Model
from lens.sites import Site
from steering.studies.personas.cast import Cast

Vectors = Float[np.ndarray, "traits d"]


@dataclass(frozen=True, eq=False)
class Place:
    """One site: traits[t] and refusal are unit vectors, unit is the mean residual norm of the requests there, noise
    their states less their mean over those of the same label."""

    site: Site
    traits: Vectors
    refusal: Float[np.ndarray, " d"]
    unit: float
    noise: Float[np.ndarray, "n d"]

    def aligned(self) -> Float[np.ndarray, " traits"]:
        """a_t of every trait."""
        return np.asarray(self.traits @ self.refusal)

    def steps(self, signs: Float[np.ndarray, "personas traits"], traits: Vectors) -> Float[np.ndarray, "personas d"]:
        """A step of one mean residual norm along v_p = Σ_t p_t v_t / ‖Σ_t p_t v_t‖ for each persona."""
        return self.unit * _unit(signs @ traits)

    def isotropic(self, draws: int, seed: int) -> Float[np.ndarray, "draws traits d"]:
        """Random unit vectors in the traits' places."""
        shape = (draws, *self.traits.shape)
        return _unit(np.random.default_rng(seed).standard_normal(shape))

    def matched(self, draws: int, seed: int) -> Float[np.ndarray, "draws traits d"]:
        """Random unit vectors with the covariance that states have among requests of the same label."""
        mixed = np.random.default_rng(seed).standard_normal((draws, len(self.traits), len(self.noise)))
        return _unit(mixed @ self.noise)

    def random_refusal(self, draws: int, seed: int) -> Float[np.ndarray, "2 draws d"]:
        """Random unit vectors in the place of r: isotropic ones, and those with the covariance of the states."""
        rng = np.random.default_rng(seed)
        drawn = [rng.standard_normal((draws, len(self.refusal))), rng.standard_normal((draws, len(self.noise)))]
        return _unit(np.stack([drawn[0], drawn[1] @ self.noise]))


def places(model: Model, cast: Cast, *, progress: bool = True) -> list[Place]:
    """Every layer's directions. Raises DataError: a trait, or refusal, that leaves no trace at a layer."""
    requests = cast.said(model, cast.rows(cast.requests, "train"), [cast.neutral])
    asked = collect(model, requests, sites="resid_post", span="prompt[-1]", progress=progress)
    signs = np.vstack([cast.signs, np.zeros(len(cast.traits))])
    lines = [*cast.lines, cast.neutral]
    checked = {}
    for trait in cast.traits:
        rows = cast.said(model, cast.rows(cast.checks, "train", trait=trait), lines)
        checked[trait] = collect(model, rows, sites="resid_post", span="prompt[-1]", progress=progress)
    fit = np.linalg.pinv(np.column_stack([np.ones(len(signs)), signs]))[1:]
    found = []
    for site in asked.sites:
        X, vectors = asked.numpy(site).astype(np.float64), []
        for number, acts in enumerate(checked.values()):
            states = acts.numpy(site).astype(np.float64).reshape(len(lines), -1, X.shape[1])
            vectors.append(fit[number] @ states.mean(axis=1))
        means = np.stack([X[asked.labels == label].mean(axis=0) for label in (0, 1)])
        refusal = means[1] - means[0]
        for what, vector in [("refusal", refusal), *zip(cast.traits, vectors, strict=True)]:
            if not np.linalg.norm(vector) > 1e-6 * np.linalg.norm(X, axis=1).mean():
                raise DataError(f"{what} leaves no trace at {site}: its rows have the same states there.")
        unit = asked.residual_norm(site)
        found.append(Place(site, _unit(np.stack(vectors)), _unit(refusal), unit, X - means[asked.labels]))
    return found


def table(found: list[Place], cast: Cast) -> pd.DataFrame:
    """Cosine of each trait with refusal, and with the other traits, at every layer."""
    rows = []
    for place in found:
        gram = place.traits @ place.traits.T
        for number, trait in enumerate(cast.traits):
            known = {"site": str(place.site), "layer": place.site.layer, "trait": trait}
            others = {f"cos {other}": gram[number, k] for k, other in enumerate(cast.traits)}
            rows.append({**known, "alignment": place.aligned()[number], **others})
    return pd.DataFrame(rows)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
