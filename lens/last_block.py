"""The last block of a pass: its MLP works on the tokens that are read, and on no others."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lens.model import Model
from lens.sites import Site
from lens.tokens import Row, pad

# Above this share of tokens, picking them out costs what it saves.
MOST = 0.75
# By how much what leaves the block may differ, relative to its norm: float32's rounding, and that of shorter numbers.
FULL, HALF = 1e-5, 1e-2
_found: "WeakKeyDictionary[nn.Module, tuple[int, bool]]" = WeakKeyDictionary()


@contextmanager
def only_where(model: Model, sites: Sequence[Site], mask: Bool[Tensor, "batch pos"]) -> Iterator[None]:
    """Inside, the MLP of the last block that `sites` names is computed at the tokens of `mask` alone; elsewhere its
    output is zero, so that `resid_post` there is wrong, and not read.

    Nothing changes where that could be seen: an encoder, any hook on the model (those that read are put on inside),
    `mlp_out` or `resid_mid` wanted there, or a block that gave something else when it was tried.
    """
    layer = max(site.layer for site in sites)
    wanted = {site.kind for site in sites if site.layer == layer}
    seen = model.parts.mlp is None or model.is_encoder or bool(wanted & {"mlp_out", "resid_mid"})
    if seen or mask.float().mean() > MOST or not _unseen(model, layer):
        yield
        return
    with _picked(model, layer, mask):
        yield


@contextmanager
def _picked(model: Model, layer: int, mask: Bool[Tensor, "batch pos"]) -> Iterator[None]:
    assert model.parts.mlp is not None
    mlp, picked = model.blocks[layer].get_submodule(model.parts.mlp), _Picked(mask)
    handles = [
        mlp.register_forward_pre_hook(picked.before, with_kwargs=True),
        mlp.register_forward_hook(picked.after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Picked:
    """Hooks that hand a module the tokens of a mask, side by side, and put its outputs back in their places."""

    def __init__(self, mask: Bool[Tensor, "batch pos"]) -> None:
        self.mask = mask
        self.thread = threading.get_ident()
        self.active, self.count = False, 0

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != self.thread:
            return None
        self.active = len(args) == 1 and not kwargs and args[0].shape[:2] == self.mask.shape
        if not self.active:
            return None
        self.mask = self.mask.to(args[0].device)
        h = args[0][self.mask]
        self.count = len(h)
        # A single one twice: products with one vector take another path, whose last bits depend on where weights lie.
        return (h[None] if self.count > 1 else h.expand(2, -1)[None],), kwargs

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self.active or threading.get_ident() != self.thread:
            return None
        if isinstance(output, tuple):
            return (self._spread(output[0]), *output[1:])
        return self._spread(output)

    def _spread(self, h: Tensor) -> Tensor:
        spread = h.new_zeros(*self.mask.shape, h.shape[-1])
        spread[self.mask] = h[0, : self.count]
        return spread


def _unseen(model: Model, layer: int) -> bool:
    """Whether nobody has put a hook on, and nothing that is read changes. The latter is tried once on each block, and
    again where code of the model's is replaced."""
    parts = list(model.hf.modules())
    hooks = [hook for part in parts for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())]
    # The one that transformers leaves behind where hidden states were once asked for sees nothing.
    if any(getattr(hook, "__name__", "") != "output_capturing_hook" for hook in hooks):
        return False
    code = hash(tuple((id(part), part.training, id(getattr(part.forward, "__func__", part.forward))) for part in parts))
    block = model.blocks[layer]
    known = _found.get(block)
    if known is None or known[0] != code:
        known = _found[block] = code, _try(model, layer)
    return known[1]


def _try(model: Model, layer: int) -> bool:
    """Two short texts, with one token picked from each: an MLP that looks at other tokens, or that runs elsewhere too,
    gives itself away."""
    size, words = 6, model.hf.config.get_text_config().vocab_size
    rows = [Row([(5 * row + k) % words for k in range(size)], size, False) for row in range(2)]
    batch = pad(rows, [0, 1], pad_id=model.pad_id).to(model.device)
    mask = torch.zeros(2, size, dtype=torch.bool)
    mask[0, 3] = mask[1, 1] = True
    thread = threading.get_ident()

    def leaving() -> Float[Tensor, "two d"]:
        left: list[Tensor] = []

        def keep(h: Tensor) -> None:
            if threading.get_ident() != thread:
                return
            left.append(h[mask.to(h.device)].float())
            raise _Left

        handle = model.attach(Site("resid_post", layer), keep)
        try:
            with suppress(_Left), torch.no_grad():
                model.forward(batch)
        finally:
            handle.remove()
        return left[0]

    try:
        whole = leaving()
        with _picked(model, layer, mask):
            alone = leaving()
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError):
        # It takes something else than the hidden states of tokens; if the model itself is wrong, the pass that is
        # read will say so.
        return False
    error = (alone - whole).norm(dim=-1) / whole.norm(dim=-1)
    return bool((error <= (FULL if model.dtype == torch.float32 else HALF)).all())


class _Left(Exception):
    """Raised where a block's output was kept: nothing after it is needed."""
