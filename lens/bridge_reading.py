"""Bridge reading: what only TransformerLens shows (heads, queries, keys, values, the MLP's hidden layer)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import SiteError, available
from lens.model import Model
from lens.sites import Site
from lens.tokens import Batch

Keep = Callable[[Site, Tensor], None]
# One number per pair of tokens: not a vector for each token.
_PAIRS = ("hook_pattern", "hook_attn_scores")


def run(model: Model, batch: Batch, sites: Sequence[Site], keep: Keep) -> None:
    """Run one batch through the bridge, up to the last wanted block; `keep` gets each site (heads side by side)."""

    def hook(site: Site, h: Float[Tensor, "batch pos *rest"], hook: Any) -> None:
        keep(site, h.flatten(start_dim=2))

    with torch.no_grad():
        model.bridge.run_with_hooks(
            batch.ids,
            attention_mask=batch.mask,
            fwd_hooks=[(str(site), partial(hook, site)) for site in sites],
            stop_at_layer=max(site.layer for site in sites) + 1,
        )


def widths(model: Model, sites: Sequence[Site]) -> dict[Site, int]:
    """Width of each site, found by running three tokens.

    Raises SiteError: no such hook in this architecture, one that does not run, or one that is no vector per token.
    """
    found: dict[Site, int] = {}
    if not sites:
        return found
    for site in sites:
        known = model.bridge.hook_dict
        if site.kind.endswith(_PAIRS):
            raise SiteError(f"{site} has one number per pair of tokens; read it with model.bridge.run_with_cache.")
        if str(site) not in known:
            inside = sorted({name.split(".", 2)[2] for name in known if name.startswith(f"blocks.{site.layer}.")})
            raise SiteError(
                f"No TransformerLens hook {str(site)!r} in {model.name}; available: {available(inside, 60)}."
            )
    ids = torch.tensor([[model.pad_id, 1, 2]], device=model.device)
    ones = torch.ones(1, dtype=torch.long)
    batch = Batch(
        rows=ones - 1,
        ids=ids,
        mask=torch.ones_like(ids),
        index=torch.arange(3)[None],
        prompt_length=3 * ones,
        length=3 * ones,
        has_bos=ones.bool(),
        total=1,
    )

    def keep(site: Site, h: Tensor) -> None:
        found[site] = h.shape[-1]

    try:
        run(model, batch, sites, keep)
    except ValueError as error:  # some hooks are off until the bridge is told to compute them
        raise SiteError(f"{model.name}: TransformerLens does not offer this hook: {error}") from error
    silent = [str(site) for site in sites if site not in found]
    if silent:
        raise SiteError(f"The TransformerLens hook {silent[0]} does not run in {model.name}.")
    return found
