"""Running a few tokens: what an edit has done, measured before it is handed out."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ModelError
from lens.model import Model
from lens.sites import Site
from steering.apply import apply
from steering.edits.writers import family
from steering.interventions import Intervention

# As a share of the norm of what is compared.
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4}
COARSE = 3e-2

Check = Callable[[], None]


def tolerance(model: Model) -> float:
    return TOLERANCE.get(model.dtype, COARSE)


def read(model: Model, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "tokens d"]]:
    """What is at sites for a few tokens, float32."""
    seen: dict[Site, Tensor] = {}

    def keep(site: Site) -> Callable[[Tensor], None]:
        def hook(h: Tensor) -> None:
            # A copy: some blocks add to it in place afterwards.
            seen[site] = h[0].detach().float().clone()

        return hook

    handles = [model.attach(site, keep(site)) for site in sites]
    ids = torch.tensor([[model.pad_id, *range(min(5, model.hf.config.vocab_size))]], device=model.device)
    try:
        with torch.no_grad():
            model.hf(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def left_over(model: Model, basis: Float[Tensor, "d k"]) -> float:
    """The largest share of the stream's norm that lies in the span of an orthonormal basis, at any block's end."""
    sites = [Site("resid_pre", 0), *(Site("resid_post", layer) for layer in range(model.n_layers))]
    shares = []
    for h in read(model, sites).values():
        # The embedding of a padding token may be all zero.
        norm = h.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
        shares.append((h @ basis.float().to(h.device)).norm(dim=-1) / norm)
    return float(torch.cat([share.cpu() for share in shares]).max())


def gone(model: Model, basis: Float[Tensor, "d k"]) -> Check:
    """A check for afterwards: nothing of the basis is left in the stream."""

    def check() -> None:
        left = left_over(model, basis)
        if not left <= tolerance(model):
            raise ModelError(
                f"{family(model)}: after the edit a share {left:.1e} of the residual stream still lies along the "
                "direction, so something else writes to it; the edit was undone. Use Ablate at the sites instead."
            )

    return check


def same_as(model: Model, hook: Intervention) -> Check:
    """A check for afterwards: the model does what it does now with an intervention."""
    end = Site("resid_post", model.n_layers - 1)
    with apply(model, hook, other_model=True):
        wanted = read(model, [end])[end]

    def check() -> None:
        error = float((read(model, [end])[end] - wanted).norm() / wanted.norm())
        if not error <= tolerance(model):
            name = type(hook).__name__
            raise ModelError(
                f"{family(model)}: after the edit the stream differs by {error:.1e} from what {name} at the site makes "
                f"of it; the edit was undone. Use {name} instead."
            )

    return check
