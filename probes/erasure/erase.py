"""Erase: from activations with classes to the map that takes the classes out of them."""

from collections.abc import Callable

import numpy as np
import torch

from lens.activations import Activations
from lens.errors import DataError, available
from lens.moments import Moments
from lens.sites import Site
from lens.store import Store
from probes.erasure.classes import of_moments, of_rows, of_store, rows_of
from probes.erasure.eraser import Eraser
from probes.erasure.inlp import Inlp
from probes.erasure.leace import Leace, MeanProjection
from probes.provenance import provenance_of

ERASURES: dict[str, Callable[[], Leace | MeanProjection | Inlp]] = {
    "leace": Leace,
    "mean_projection": MeanProjection,
    "inlp": Inlp,
}


def erase(
    source: Activations | Moments | Store,
    site: str | Site,
    method: str | Leace | MeanProjection | Inlp = "leace",
    *,
    by: str = "label",
) -> Eraser:
    """Fit the affine map that erases what column `by` tells, two classes or more, at one site.

    method: `leace`, `mean_projection` or `inlp`, or with options, `Leace(shrinkage="oas")`. From moments, and from a
    store with more rows than dimensions, in O(d²) memory whatever the number of rows; `inlp` needs the rows. Of
    unpooled activations every token is a row.

    Raises SiteError: a site that was not collected. DataError: one class, a missing class, values that are not finite,
    unknown method, or one that needs the rows.

    >>> eraser = probes.erase(acts, "resid_post.2", by="topic")          # doctest: +SKIP
    >>> probes.fit(eraser.erase(acts), "resid_post.2")                   # doctest: +SKIP
    """
    if isinstance(method, str) and method not in ERASURES:
        raise DataError(f"Unknown erasure {method!r}; available: {available(ERASURES)}.")
    chosen = ERASURES[method]() if isinstance(method, str) else method
    acts = source.activations() if isinstance(source, Store) else source
    named = acts.site(site)
    if isinstance(acts, Moments):
        if isinstance(chosen, Inlp):
            raise DataError("inlp needs rows, not their moments; available: leace, mean_projection.")
        known, residual_norm = of_moments(acts, named, by), acts.norms[named]
        removed, reading = chosen.factors(known)
    else:
        residual_norm = acts.residual_norm(named)
        if isinstance(source, Store) and len(acts) >= acts.width and not isinstance(chosen, Inlp):
            known = of_store(source, acts, named, by)
            removed, reading = chosen.factors(known)
        else:
            rows = rows_of(acts, named, by)
            known = of_rows(rows)
            removed, reading = (chosen.basis(rows),) * 2 if isinstance(chosen, Inlp) else chosen.factors(known)
    # Pointing to the last class: for labels, to 1.
    sign = np.where(removed.T @ (known.means[-1] - known.mean) >= 0, 1.0, -1.0)
    return Eraser(
        site=named,
        removed=torch.from_numpy(removed * sign),
        reading=torch.from_numpy(reading * sign),
        mean=torch.from_numpy(known.mean),
        by=by,
        classes=known.values,
        class_means=torch.from_numpy(known.means),
        residual_norm=residual_norm,
        provenance=provenance_of(
            acts.source,
            known.n,
            method=method if isinstance(method, str) else repr(method),
            seed=chosen.seed if isinstance(chosen, Inlp) else None,
        ),
    )
