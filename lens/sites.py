"""Sites: named places in the residual stream, the same for reading and for writing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from lens.errors import SiteError, available

Kind = Literal["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_SPELLING = re.compile(r"(?P<kind>[a-z_]+)(\.(?P<layer>-?\d+))?")
_HOOK = re.compile(r"(blocks\.(?P<layer>-?\d+)\.)?(?P<hook>([a-z0-9_]+\.)*hook_[a-z0-9_]+)")


@dataclass(frozen=True, order=True)
class Site:
    """A place in the residual stream of one block.

    `resid_pre` is the block's input, `resid_mid` the stream between attention and MLP, `resid_post` the
    block's output; `attn_out` and `mlp_out` are what attention and MLP add. Names are those of
    TransformerLens. Layers count blocks from 0; the last block's `resid_post` is before the final norm.

    Any other place inside a block that TransformerLens hooks goes by its own spelling, `blocks.12.attn.hook_z`, and is
    read through `model.bridge`.

    >>> str(Site("resid_post", 12)), str(Site("attn.hook_z", 12))
    ('resid_post.12', 'blocks.12.attn.hook_z')
    """

    kind: str
    layer: int

    def __str__(self) -> str:
        return f"blocks.{self.layer}.{self.kind}" if self.in_bridge else f"{self.kind}.{self.layer}"

    @property
    def in_bridge(self) -> bool:
        """Whether it is a TransformerLens hook rather than a place in the residual stream."""
        return self.kind not in KINDS

    @property
    def depth(self) -> tuple[int, int]:
        """Sorts places of the residual stream in the order in which a pass comes to them."""
        return self.layer, KINDS.index(self.kind)

    @classmethod
    def parse(cls, text: "str | Site", *, n_layers: int | None = None) -> "Site":
        """Read `resid_post.12`; a negative layer counts from the last block of `n_layers`.

        Raises SiteError: unknown kind, missing layer, or a layer the model does not have.
        """
        kind, layer = _spelled(text)
        if layer is None:
            example = Site(kind, (n_layers or 1) - 1)
            raise SiteError(f"{str(text)!r} names every layer; give one, for example '{example}'.")
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
    layers: Iterable[int] = range(n_layers) if layer is None else [_layer(given, layer, n_layers)]
    return [Site(kind, number) for number in layers]


def _spelled(given: "str | Site") -> tuple[str, int | None]:
    text = str(given).strip()
    if hook := _HOOK.fullmatch(text):
        return hook["hook"], None if hook["layer"] is None else int(hook["layer"])
    match = _SPELLING.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise SiteError(
            f"Unknown site {text!r}. Write KIND or KIND.LAYER, with KIND one of: {available(KINDS)}; "
            "or a TransformerLens hook, blocks.LAYER.HOOK."
        )
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
