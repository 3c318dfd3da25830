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
    def parse(cls, text: "str | Site", *, n_layers: int) -> "Site":
        """Read `resid_post.12`; a negative layer counts from the last block.

        Raises SiteError: unknown kind, missing layer, or a layer the model does not have.
        """
        sites = resolve(text, n_layers=n_layers)
        if len(sites) != 1:
            raise SiteError(f"{text!r} names every layer; give one, for example '{text}.{n_layers - 1}'.")
        return sites[0]


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
    text = str(given).strip()
    match = _SPELLING.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise SiteError(f"Unknown site {text!r}. Write KIND or KIND.LAYER, with KIND one of: {available(KINDS)}.")
    kind: Kind = match["kind"]
    if match["layer"] is None:
        return [Site(kind, layer) for layer in range(n_layers)]
    layer = int(match["layer"])
    if not -n_layers <= layer < n_layers:
        raise SiteError(
            f"Site {text!r}: this model has {n_layers} blocks, so layers 0 to {n_layers - 1} (or -1 to -{n_layers})."
        )
    return [Site(kind, layer % n_layers)]
