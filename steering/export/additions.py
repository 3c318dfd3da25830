"""What an exported file holds: additions, each reduced to the vector that it adds at a place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ArtifactError, SiteError, SpanError, available
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from probes.provenance import Provenance
from steering.interventions import Add, Intervention

Place = TypeVar("Place")


def summed(
    additions: Sequence[Any],
    place: Callable[[Site], Place],
    *,
    reader: str,
    model: Model | None = None,
    every_token: bool = True,
) -> "dict[Place, Float[Tensor, ' d']]":
    """What is added at each place: Σ strength · unit · v over the additions there, float32.

    place: what the reader calls a site; raises SiteError for one that it cannot reach. Two sites may be one place: the
    output of a block is the input of the next. every_token: the reader adds at every token, so that the span must be
    `all`. model: checks that the additions fit it.

    Raises ArtifactError: nothing given; anything but a plain addition (another kind, `keep_norm`, `when`, a strength
    per row); directions of several models or widths; a sum that is zero or not finite. SpanError: another span.
    """
    if not additions:
        raise ArtifactError("Nothing to export: give additions, for example steering.Add(direction, 1.0, span='all').")
    found: dict[Place, Tensor] = {}
    for one in additions:
        check_plain(one, reader=reader, every_token=every_token)
        if not isinstance(one, Add) or one.keep_norm:
            kind = type(one).__name__ + (" with keep_norm" if isinstance(one, Add) else "")
            raise ArtifactError(f"{reader} adds a vector, whatever is there; given: {kind}; available: plain Add.")
        if model is not None:
            one.check_model(model)
        for site in sites_of(one, model):
            step = one.at_site(site)(torch.zeros(len(one.direction.vector)))
            where = place(site)
            if found and len(step) != len(next(iter(found.values()))):
                raise ArtifactError(
                    f"Directions of width {len(next(iter(found.values())))} and {len(step)}: one model's."
                )
            found[where] = found[where] + step if where in found else step
    origin(additions)
    for where, step in found.items():
        if not bool(step.isfinite().all()) or not bool(step.any()):
            raise ArtifactError(f"At {where} the vector to add is zero or not finite; nothing was written.")
    return found


def check_plain(one: Any, *, reader: str, every_token: bool) -> None:
    """Raises ArtifactError: a gate, or a strength per row. SpanError: a span that the reader does not know."""
    if not isinstance(one, Intervention):
        raise ArtifactError(f"An export is made of interventions, such as Add(direction); given: {type(one).__name__}.")
    if one.when is not None:
        raise ArtifactError(f"{reader} has no conditions; this {type(one).__name__} has when={one.when}.")
    amounts = one.strength.values() if isinstance(one.strength, Mapping) else [one.strength]
    if any(isinstance(amount, Tensor) for amount in amounts):
        raise ArtifactError(f"{reader} treats all rows alike; this {type(one).__name__} has a strength per row.")
    if every_token and str(one.span) != "all":
        raise SpanError(
            f"{reader} acts at every token; this {type(one).__name__} has the span {str(one.span)!r}. Say so with "
            "span='all'."
        )


def sites_of(one: Intervention, model: Model | None) -> list[Site]:
    """Where it acts. Raises SiteError: a kind of site whose layers only a model can tell, or one that it lacks."""
    return one.places(model) if model is not None else [Site.parse(site) for site in one.sites or one.home]


def after_block(site: Site, reader: str) -> int:
    """The block at whose output a site lies: `resid_post.k` and `resid_pre.k+1` are the output of block k,
    `resid_pre.0` is that of block −1. Raises SiteError: any other site."""
    blocks = {"resid_post": site.layer, "resid_pre": site.layer - 1}
    if site.kind not in blocks:
        raise SiteError(
            f"{reader} adds to the output of a block; {site} is inside one. Available: {available(blocks)}."
        )
    return blocks[site.kind]


def origin(additions: Iterable[Intervention]) -> Provenance:
    """Model and fingerprint, empty where unknown. Raises ArtifactError: directions of several models."""
    known = [one.direction.provenance for one in additions if hasattr(one, "direction")]
    named = {one.fingerprint.split("+")[0]: one for one in known if one.fingerprint}
    if len(named) > 1:
        raise ArtifactError(f"Directions of several models: {available(one.model for one in named.values())}.")
    given = next(iter(named.values()), Provenance())
    return Provenance(model=given.model, fingerprint=given.fingerprint)


def read_as(
    vectors: "Mapping[Site, Float[Tensor, ' d']]",
    *,
    method: str,
    known: Provenance | None = None,
    model: Model | None = None,
    span: str = "all",
) -> list[Add]:
    """The additions of a file that was read, in the order of their sites: strength · v is the vector, in raw units.

    known: model and fingerprint that the file itself names; where it names none, those of `model`, if given.

    Raises ArtifactError: no vector, one that is zero or not finite, or not of this model. SiteError: a site that the
    model lacks.
    """
    if not vectors:
        raise ArtifactError(f"This {method} holds no vector to add.")
    out = []
    for site, vector in sorted(vectors.items()):
        one = Direction.from_vector(vector, str(site), model=None if known and known.fingerprint else model)
        own = known if known and known.fingerprint else one.provenance
        one = replace(one, provenance=replace(own, method=method))
        if model is not None:
            one.check_model(model)
        out.append(Add(one, one.norm, unit="raw", span=span))
    return out


def put(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file beside its place and move it there: it is there whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
