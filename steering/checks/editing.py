"""Properties of edits: what is written out of the weights is gone, is what a hook would remove, and comes back."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from lens.errors import ModelError
from steering.apply import apply
from steering.checks import offers
from steering.checks.case import LOGITS, Case, NotApplicable, Outcome, Reading, errors
from steering.edits import Orthogonalize, edit
from steering.interventions import Ablate
from steering.interventions import writers as every_writer


def ablation(case: Case) -> Outcome | NotApplicable:
    """Without it: a direction that "was ablated" and is still in the stream, because some writer was missed."""
    reason = offers.no_writers(case.model)
    if reason:
        return NotApplicable(reason)
    return _gone(case, lambda: _ablated(case))


def removal(case: Case) -> Outcome | NotApplicable:
    """Without it: edited weights that still write the direction (a bias, an embedding, a norm that was forgotten)."""
    reason = offers.no_edit(case.model)
    if reason:
        return NotApplicable(reason)
    try:
        return _gone(case, lambda: edit(case.model, Orthogonalize(case.direction)))
    except ModelError as refusal:
        # An edit measures itself as well, and takes back what did not work.
        return Outcome({"the edit refused": float("inf")}, case.tolerance, str(refusal))


def _gone(case: Case, remove: Callable[[], AbstractContextManager[Any]]) -> Outcome:
    """The share of each token's norm that lies along the direction, at every place of the stream itself."""
    with remove():
        seen = case.forwarded()
    stream = {place: h for place, h in seen.items() if place.startswith("resid")}
    found = {place: float((case.direction.project(h).abs() / _norm(h)).max()) for place, h in stream.items()}
    width = case.model.d_model
    return Outcome(found, case.tolerance / width**0.5, f"{case.why} / √{width}: one coordinate of a rounding error")


def _norm(h: Tensor) -> Tensor:
    return h.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)


def edit_is_ablation(case: Case) -> Outcome | NotApplicable:
    """Without it: an edited model that is not the steered one, so that what was measured with hooks does not hold
    for what is shipped."""
    reason = offers.no_edit(case.model)
    if reason and not offers.no_writers(case.model):
        reason += " So the hook equals no edit here; what the hook does is the property `ablation`."
    reason = reason or offers.no_writers(case.model)
    if reason:
        return NotApplicable(reason)
    with _ablated(case):
        hooked = case.forwarded()
    with edit(case.model, Orthogonalize(case.direction)):
        edited = case.forwarded()
    return Outcome(errors(edited, hooked), case.tolerance, case.why)


def _ablated(case: Case) -> AbstractContextManager[None]:
    return apply(case.model, Ablate(case.direction, to="zero", sites=every_writer(case.model), span="all"))


def undo(case: Case) -> Outcome | NotApplicable:
    """Without it: a model that drifts a little with each edit, or whose tied embeddings stay untied."""
    reason = offers.no_edit(case.model)
    if reason:
        return NotApplicable(reason)
    before = _state(case)
    with edit(case.model, Orthogonalize(case.direction)):
        edited = _state(case)
    if all(edited[name] == before[name] for name, _ in case.model.hf.named_parameters()):
        raise ModelError("The edit changed nothing, so its undo was not tested.")
    after = _state(case)
    found = {name: float(after.get(name) != before.get(name)) for name in [*before, *(after.keys() - before.keys())]}
    return Outcome(found, 0.0, "bit for bit; the error is 1 where anything differs")


def _state(case: Case) -> dict[str, object]:
    """Digests of every tensor's bytes (they need no second copy of the model), which names share one tensor, the
    configuration, and what the model says of its edits."""
    hf = case.model.hf
    parameters = dict(hf.named_parameters(remove_duplicate=False))
    tensors = {**parameters, **dict(hf.named_buffers())}
    state: dict[str, object] = {name: _digest(tensor) for name, tensor in tensors.items()}
    state |= {f"identity of {name}": (id(p), p.requires_grad) for name, p in parameters.items()}
    state |= {f"config.{name}": repr(value) for name, value in hf.config.to_dict().items()}
    return state | {"edits": list(case.model.edits), "fingerprint": case.model.fingerprint}


def _digest(tensor: Tensor) -> str:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(raw.data, digest_size=16).hexdigest()


def bridge(case: Case) -> Outcome | NotApplicable:
    """Without it: heads and patterns, which only TransformerLens reads, that belong to another computation."""
    reason = offers.no_bridge(case.model)
    return NotApplicable(reason) if reason else _bridged(case)


def bridge_after_edit(case: Case) -> Outcome | NotApplicable:
    """Without it: a bridge that still shows the weights from before an edit (it copies what it must split)."""
    reason = offers.no_bridge(case.model) or offers.no_edit(case.model)
    if reason:
        return NotApplicable(reason)
    case.model.bridge  # noqa: B018  built before the edit, as a user's is
    with edit(case.model, Orthogonalize(case.direction)):
        return _bridged(case)


def _bridged(case: Case) -> Outcome:
    return Outcome(errors(_through_bridge(case), case.forwarded()), case.tolerance, case.why)


def _through_bridge(case: Case) -> Reading:
    model = case.model.bridge
    seen: dict[str, list[Tensor]] = {}

    def keep(place: str) -> Callable[..., None]:
        def hook(h: Tensor, hook: object) -> None:
            seen.setdefault(place, []).append(h[0].detach().float().cpu().clone())

        return hook

    hooks = [(f"blocks.{site.layer}.hook_{site.kind}", keep(str(site))) for site in case.sites]
    for number in range(len(case.rows)):
        batch = case.alone(number)
        with torch.no_grad():
            logits = model.run_with_hooks(batch.ids, fwd_hooks=hooks, attention_mask=batch.mask).float()[0]
        seen.setdefault(LOGITS, []).append((logits - logits.mean(dim=-1, keepdim=True)).cpu())
    return {place: torch.cat(parts) for place, parts in seen.items()}
