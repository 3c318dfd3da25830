"""Fit: activations at one site to a probe and the direction it stands for."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import clone

from lens.activations import Activations
from lens.errors import DataError, available
from lens.sites import Site
from probes.base import LinearProbe
from probes.direction import Direction, provenance_of
from probes.logistic import Logistic
from probes.mean_difference import MeanDifference

PROBES: dict[str, type[LinearProbe]] = {"mean_difference": MeanDifference, "logistic": Logistic}


@dataclass(frozen=True)
class Fitted:
    """A fitted probe: the scikit-learn estimator, and its direction."""

    estimator: LinearProbe
    direction: Direction


def make(probe: str | LinearProbe) -> LinearProbe:
    """An unfitted probe by name, or a copy of one. Raises DataError for an unknown name."""
    if isinstance(probe, LinearProbe):
        return clone(probe)
    if probe not in PROBES:
        raise DataError(f"Unknown probe {probe!r}; available: {available(PROBES)}.")
    return PROBES[probe]()


def name_of(probe: str | LinearProbe) -> str:
    """The name a probe has in tables."""
    return probe if isinstance(probe, str) else repr(probe)


def check_labels(acts: Activations) -> np.ndarray:
    """Labels of both classes. Raises DataError where one class or a label is missing."""
    labels = acts.labels
    for site, array in acts.arrays.items():
        if not bool(array.isfinite().all()):
            raise DataError(f"Activations at {site} hold values that are not finite (nan or infinite).")
    if len(set(labels)) < 2:
        raise DataError(
            f"All {len(labels)} rows have label {labels[0]}: both 0 and 1 are needed "
            "(say which value is the behaviour with positive=VALUE)."
        )
    return labels


def fit(acts: Activations, site: str | Site, probe: str | LinearProbe = "mean_difference") -> Fitted:
    """Fit one probe at one site on all rows.

    The direction is the probe's coefficient vector, unit length, pointing to label 1; it carries the norms
    that steering needs and where it came from.

    Raises SiteError: a site that was not collected. DataError: one class, a missing label, unknown probe.
    """
    labels = check_labels(acts)
    X = acts.numpy(site).astype(np.float64)
    estimator = make(probe).fit(X, labels)
    coef = estimator.coef_[0]
    norm = float(np.linalg.norm(coef))
    if norm == 0:
        raise DataError(f"The probe {name_of(probe)} at {site} is zero: the classes have equal means there.")
    means = np.stack([X[labels == value].mean(axis=0) for value in (0, 1)])
    direction = Direction(
        vector=torch.from_numpy(coef / norm).float(),
        site=acts.site(site),
        norm=norm,
        bias=float(estimator.intercept_[0]),
        residual_norm=acts.residual_norm(site),
        difference=float(np.linalg.norm(means[1] - means[0])),
        neutral=float(means.mean(axis=0) @ coef / norm),
        provenance=provenance_of(acts, method=name_of(probe)),
    )
    return Fitted(estimator, direction)
