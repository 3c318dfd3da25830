"""Sites: named places in the residual stream, the same for reading and for writing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lens.errors import SiteError, available

Kind = Literal["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SPELLING = re.compile(r"(?P<kind>[a-z_]+)(\.(?P<layer>-?\d+))?")


@dataclass(frozen=True, order=True)
class Site:
    """A place in the residual stream of one block.

    `resid_pre` is the block's input, `resid_mid` the stream between attention and MLP, `resid_post` the
    block's output; `attn_out` and `mlp_out` are what attention and MLP add. Names are those of
    TransformerLens. Layers count blocks from 0; the last block's `resid_post` is before the final norm.

    >>> str(Site("resid_post", 12))
    'resid_post.12'
    """

    kind: Kind
    layer: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    @classmethod
    def parse(cls, text: "str | Site", *, n_layers: int | None = None) -> "Site":
        """Read `resid_post.12`; a negative layer counts from the last block of `n_layers`.

        Raises SiteError: unknown kind, missing layer, or a layer the model does not have.
        """
        kind, layer = _spelled(text)
        if layer is None:
            raise SiteError(f"{str(text)!r} names every layer; give one, for example '{kind}.{(n_layers or 1) - 1}'.")
        if n_layers is None and layer < 0:
            raise SiteError(f"{str(text)!r} counts from the last block, but no model is given; count from 0.")
        return Site(kind, _layer(text, layer, n_layers))


def resolve(sites: "str | Site | Iterable[str | Site]", *, n_layers: int) -> list[Site]:
    """Expand a site, a kind (`"resid_post"` = every layer) or a list of them, without repeats.

    Raises SiteError: unknown kind, a layer the model does not have, or nothing given.
    """
    if isinstance(sites, str | Site):
        sites = [sites]
    found: dict[Site, None] = {}
    for given in sites:
        for site in _expand(given, n_layers):
            found[site] = None
    if not found:
        raise SiteError(f"No site given; available kinds: {available(KINDS)}.")
    return list(found)


def _expand(given: "str | Site", n_layers: int) -> list[Site]:
    kind, layer = _spelled(given)
    layers = range(n_layers) if layer is None else [_layer(given, layer, n_layers)]
    return [Site(kind, number) for number in layers]


def _spelled(given: "str | Site") -> tuple[Kind, int | None]:
    text = str(given).strip()
    match = _SPELLING.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise SiteError(f"Unknown site {text!r}. Write KIND or KIND.LAYER, with KIND one of: {available(KINDS)}.")
    return match["kind"], None if match["layer"] is None else int(match["layer"])


def _layer(given: "str | Site", layer: int, n_layers: int | None) -> int:
    if n_layers is None:
        return layer
    if not -n_layers <= layer < n_layers:
        raise SiteError(
            f"Site {str(given)!r}: this model has {n_layers} blocks, so layers 0 to {n_layers - 1} (or -1 to "
            f"-{n_layers})."
        )
    return layer % n_layers
