"""Axes: directions of the residual stream whose projections are what a model is told as scores.

    logistic    v of L2-penalised logistic regression on the dataset's label;  score = (v·h + b) / sd
    pcK         the K-th principal component;                                  score = v·(h − μ) / sd
    random      a random unit vector;                                          score = v·(h − μ) / sd
    NAME        any Direction, at its own site;                                score = v·(h − μ) / sd

fitted at every site on one half of the sentences; μ and sd are of that half.

Source: Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lens.activations import Activations
from lens.errors import DataError, available
from lens.sites import Site
from probes.direction import Direction
from probes.logistic import Logistic

COMPONENTS = (1, 2, 4, 8, 32, 128, 512)
MOST_COMPONENTS = 512
KINDS = ("logistic", "pc", "random")
# Smaller singular values than this share of the largest are rounding.
RANK = 1e-5

Asked = str | Sequence[str | Direction] | Mapping[str, Direction | Sequence[Direction]]


@dataclass(frozen=True, eq=False)
class Axis:
    """score(h) = (v·h − centre) / sd."""

    name: str
    site: Site
    vector: Float[np.ndarray, " d"]
    centre: float
    sd: float

    def score(self, h: Float[np.ndarray, "*rows d"]) -> Float[np.ndarray, "*rows"]:
        """Standardised scores."""
        return (h @ self.vector - self.centre) / self.sd


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of a site, as columns, with what standardises their scores."""

    vectors: Float[np.ndarray, "d k"]
    mean: Float[np.ndarray, " d"]
    sd: Float[np.ndarray, " k"]

    def score(self, h: Float[np.ndarray, "*rows d"]) -> Float[np.ndarray, "*rows k"]:
        """Standardised scores on all of them."""
        return (h - self.mean) @ self.vectors / self.sd


def components(X: Float[np.ndarray, "n d"]) -> Components:
    """All principal components of rows. Of the two signs, the one with the largest entry above 0: which one a solver
    gives means nothing."""
    mean = X.mean(axis=0)
    _, size, vectors = np.linalg.svd(X - mean, full_matrices=False)
    vectors = vectors[size > RANK * max(size[0], np.finfo(float).tiny)][:MOST_COMPONENTS]
    top = np.abs(vectors).argmax(axis=1)
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), top])[:, None]
    return Components(vectors.T, mean, ((X - mean) @ vectors.T).std(axis=0))


def fit_axes(
    acts: Activations, asked: Asked, found: Mapping[Site, Components], *, seed: int = 0
) -> dict[str, dict[Site, Axis]]:
    """Axes by name and site. found: the principal components of every site.

    Raises DataError: an unknown or repeated name, a component above the rank, labels of one kind for `logistic`, scores
    that are all the same.
    """
    axes: dict[str, dict[Site, Axis]] = {}
    for name, given in _named(asked).items():
        if given is not None:
            here = [one for one in given if one.site in acts.sites]
            if not here:
                raise DataError(
                    f"Axis {name!r} lies at {available(one.site for one in given)}; read are: {available(acts.sites)}."
                )
            axes[name] = {one.site: _centred(name, one.site, one.vector.double().numpy(), acts) for one in here}
        elif name == "pc":
            for number in COMPONENTS:
                ranked = [site for site in acts.sites if number <= found[site].vectors.shape[1]]
                if ranked:
                    axes[f"pc{number}"] = _component(number, {site: found[site] for site in ranked})
        elif name.startswith("pc"):
            axes[name] = _component(int(name[2:]), found)
        elif name == "logistic":
            axes[name] = {site: _logistic(acts, site) for site in acts.sites}
        else:
            random = np.random.default_rng(seed)
            axes[name] = {
                site: _centred(name, site, unit(random.standard_normal(acts[site].shape[-1])), acts)
                for site in acts.sites
            }
    return axes


def check_axes(asked: Asked) -> None:
    """Raises DataError: no axis, an unknown one, or two of one name."""
    _named(asked)


def flat_axes(asked: Asked) -> list[str | Direction]:
    """Everything asked for, one after the other."""
    given = list(asked.values()) if isinstance(asked, Mapping) else [asked] if isinstance(asked, str) else list(asked)
    return [one for each in given for one in ([each] if isinstance(each, str | Direction) else each)]


def unit(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    return np.asarray(vector / np.linalg.norm(vector))


def _named(asked: Asked) -> dict[str, list[Direction] | None]:
    if isinstance(asked, Mapping):
        named = {str(name): [one] if isinstance(one, Direction) else list(one) for name, one in asked.items()}
        pairs: list[tuple[str, list[Direction] | None]] = list(named.items())
    else:
        each = [asked] if isinstance(asked, str) else list(asked)
        pairs = [
            (one, None) if isinstance(one, str) else (f"{one.provenance.method or 'direction'} {one.site}", [one])
            for one in each
        ]
    for name, given in pairs:
        known = name in KINDS or (name.startswith("pc") and name[2:].isdigit() and int(name[2:]) > 0)
        if given is None and not known:
            raise DataError(f"Unknown axis {name!r}; available: {available(KINDS)}, pc1, pc2, …, or a Direction.")
        if given is not None and not given:
            raise DataError(f"Axis {name!r} has no Direction.")
    if not pairs or len(dict(pairs)) < len(pairs):
        raise DataError(f"Axes need names, each its own: {available(name for name, _ in pairs)}; give a dictionary.")
    return dict(pairs)


def _component(number: int, found: Mapping[Site, Components]) -> dict[Site, Axis]:
    axes = {}
    for site, one in found.items():
        rank = one.vectors.shape[1]
        if number > rank:
            raise DataError(f"There is no pc{number} at {site}: the sentences vary in {rank} directions (the rank).")
        vector = one.vectors[:, number - 1]
        axes[site] = Axis(f"pc{number}", site, vector, float(one.mean @ vector), float(one.sd[number - 1]))
    return axes


def _logistic(acts: Activations, site: Site) -> Axis:
    labels = acts.labels
    if len(set(labels)) < 2:
        raise DataError(f"Axis 'logistic' needs sentences of both labels; given: all {labels[0]}.")
    X = acts.numpy(site).astype(np.float64)
    fitted = Logistic(C=1.0, standardise=False).fit(X, labels)
    coef, bias = np.asarray(fitted.coef_).ravel(), float(np.ravel(fitted.intercept_)[0])
    size = float(np.linalg.norm(coef))
    if size == 0:
        raise DataError(f"Axis 'logistic' at {site}: all activations are the same.")
    return Axis("logistic", site, coef / size, -bias / size, _spread("logistic", site, X @ coef / size))


def _centred(name: str, site: Site, vector: Float[np.ndarray, " d"], acts: Activations) -> Axis:
    along = acts.numpy(site).astype(np.float64) @ vector
    return Axis(name, site, vector, float(along.mean()), _spread(name, site, along))


def _spread(name: str, site: Site, along: Float[np.ndarray, " n"]) -> float:
    sd = float(along.std())
    if not sd > RANK * max(float(np.abs(along).max()), np.finfo(float).tiny):
        raise DataError(f"Axis {name!r} at {site}: all sentences have the same score.")
    return sd
