"""Fit: activations at one site to a probe and the direction it stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import clone

from lens.activations import Activations
from lens.errors import DataError, available
from lens.examples import Examples
from lens.moments import Moments
from lens.sites import Site
from probes.base import LinearProbe, LogOdds, Probe
from probes.direction import Direction
from probes.k_sparse import KSparse
from probes.lda import Lda
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference
from probes.mlp import Mlp
from probes.moment_probe import MomentProbe
from probes.pca import Lat, Pca
from probes.provenance import provenance_of
from probes.ridge import Ridge

PROBES: dict[str, Callable[[], Probe]] = {
    "mean_difference": MeanDifference,
    "mass_mean": partial(MeanDifference, whiten=True),
    "logistic": Logistic,
    "lda": Lda,
    "ridge": Ridge,
    "pca": Pca,
    "lat": Lat,
    "k_sparse": KSparse,
    "mlp": Mlp,
}


@dataclass(frozen=True)
class Fitted:
    """A fitted probe: the scikit-learn estimator, and its direction."""

    estimator: LinearProbe
    direction: Direction


def make(probe: str | Probe) -> Probe:
    """An unfitted probe by name, or a copy of one. Raises DataError: an unknown name, or a parameter out of range."""
    if isinstance(probe, Probe):
        made = clone(probe)
        made.check_parameters()
        return made
    if probe not in PROBES:
        raise DataError(f"Unknown probe {probe!r}; available: {available(PROBES)}.")
    return PROBES[probe]()


def name_of(probe: str | Probe) -> str:
    """The name a probe has in tables."""
    return probe if isinstance(probe, str) else repr(probe)


def check_labels(acts: Activations) -> np.ndarray:
    """Labels of both classes, of pooled activations. Raises DataError where one class or a label is missing."""
    if acts.mask is not None:
        raise DataError(
            "These activations are unpooled, [n, tokens, d]: collect with pool='mean', 'last' or 'max', or give them "
            "to probes.fit_tokens and probes.sweep_tokens."
        )
    for site, array in acts.arrays.items():
        if not bool(array.isfinite().all()):
            raise DataError(f"Activations at {site} hold values that are not finite (nan or infinite).")
    return two_labels(acts.examples)


def two_labels(examples: Examples) -> np.ndarray:
    """Labels of both classes. Raises DataError where one class or a label is missing."""
    labels = examples.labels
    if len(set(labels)) < 2:
        raise DataError(
            f"All {len(labels)} rows have label {labels[0]}: both 0 and 1 are needed "
            "(say which value is the behaviour with positive=VALUE)."
        )
    return labels


def fit(source: Activations | Moments, site: str | Site, probe: str | Probe = "mean_difference") -> Fitted:
    """Fit one probe at one site, on all rows of activations or on moments of two classes.

    The direction is the probe's coefficient vector, unit length, pointing to label 1; it carries the norms
    that steering needs and where it came from.

    Raises SiteError: a site that was not collected. DataError: one class, a missing label, unknown probe, or one that
    needs the rows themselves.
    """
    estimator = make(probe)
    if not isinstance(estimator, LinearProbe):
        raise DataError(
            f"The probe {name_of(probe)} is not linear, so that it has no direction; probes.sweep says what it reads."
        )
    if isinstance(source, Moments):
        means, count = _fit_moments(estimator, source, site, name_of(probe))
        residual_norm = source.norms[source.site(site)]
    else:
        labels = check_labels(source)
        X = source.numpy(site).astype(np.float64)
        estimator.fit(X, labels)
        means, count = np.stack([X[labels == value].mean(axis=0) for value in (0, 1)]), len(X)
        residual_norm = source.residual_norm(site)
    coef = estimator.coef_[0]
    norm = float(np.linalg.norm(coef))
    if norm == 0:
        raise DataError(f"The probe {name_of(probe)} at {site} is zero: the classes have equal means there.")
    direction = Direction(
        vector=torch.from_numpy(coef / norm).float(),
        site=source.site(site),
        norm=norm,
        bias=float(estimator.intercept_[0]),
        residual_norm=residual_norm,
        difference=float(np.linalg.norm(means[1] - means[0])),
        neutral=float(means.mean(axis=0) @ coef / norm),
        provenance=provenance_of(source.source, count, method=name_of(probe)),
        log_odds=isinstance(estimator, LogOdds),
    )
    return Fitted(estimator, direction)


def _fit_moments(
    estimator: LinearProbe, source: Moments, site: str | Site, name: str
) -> tuple[Float[np.ndarray, "2 d"], int]:
    if not isinstance(estimator, MomentProbe):
        known = [other for other in PROBES if isinstance(make(other), MomentProbe)]
        raise DataError(f"The probe {name} needs rows, not their moments; available: {available(known)}.")
    if source.classes != (0, 1):
        raise DataError(f"Moments of the classes 0 and 1 are needed; these have {available(source.classes)}.")
    moments = source[site]
    estimator.fit_moments(moments)
    return moments.mean.numpy(), int(moments.count.sum())
