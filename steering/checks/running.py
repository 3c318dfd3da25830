"""Properties of steering: an intervention acts on the tokens of its span, and leaves no trace."""

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn

from lens.collect import collect
from lens.errors import DataError, ModelError
from lens.generation import generate
from lens.model import Model
from steering.apply import apply
from steering.checks.case import STRENGTH, Case, Errors, Outcome, errors, token_errors
from steering.interventions import Add

_SPANS = {"prompt[-1]": slice(-1, None), "prompt[:2]": slice(0, 2)}


def span(case: Case) -> Outcome:
    """Without it: a vector that is added to pads, to the wrong row or to tokens of another span."""
    model, site = case.model, case.direction.site
    plain = collect(model, case.texts, sites=[site], span="prompt", pool="none", progress=False)
    assert plain.mask is not None
    # Written out rather than asked of `Add`, which might add nothing.
    step = STRENGTH * case.direction.residual_norm * case.direction.vector
    moved = (plain[site].to(model.dtype) + step.to(model.dtype)).float()
    found: Errors = {}
    for name, chosen in _SPANS.items():
        with apply(model, Add(case.direction, STRENGTH, span=name)):
            steered = collect(
                model, case.texts, sites=[site], span="prompt", pool="none", padding_side="left", progress=False
            )
        inside = torch.zeros_like(plain.mask)
        for number, row in enumerate(case.rows):
            inside[number, range(len(row))[chosen]] = True
        for where, mask, wanted in (("inside", inside, moved), ("outside", plain.mask & ~inside, plain[site])):
            if not mask.any():
                raise DataError(f"No token is {where} the span {name}; give longer texts.")
            place = str(site)
            error = token_errors({place: steered[site][mask]}, {place: wanted[mask]}, place)
            found[f"{site}, tokens {where} {name}"] = float(error.max())
    return Outcome(found, case.tolerance, case.why)


def after_exit(case: Case) -> Outcome:
    """Without it: a hook left behind steers everything that is measured afterwards."""

    def use() -> None:
        with apply(case.model, Add(case.direction, 1.0)):
            _run_once(case)

    return _no_trace(case, use)


def after_exception(case: Case) -> Outcome:
    """Without it: one interrupted cell of a notebook, and all that follows is steered."""

    def interrupt(h: Tensor) -> None:
        raise _InterruptedError

    def use() -> None:
        with suppress(_InterruptedError), apply(case.model, Add(case.direction, 1.0)):
            _run_once(case)
            raise _InterruptedError
        handle = case.model.attach(case.direction.site, interrupt)
        try:
            with apply(case.model, Add(case.direction, 1.0)):
                _run_once(case)
        except _InterruptedError:
            return
        finally:
            handle.remove()
        raise ModelError("The exception raised in a forward pass did not come out of it.")

    return _no_trace(case, use)


class _InterruptedError(Exception):
    """Stands for anything that goes wrong in a user's block."""


def _run_once(case: Case) -> None:
    if case.model.is_encoder:
        case.forwarded()
    else:
        generate(case.model, case.texts, max_new_tokens=2)


def _no_trace(case: Case, use: Callable[[], None]) -> Outcome:
    before, again = case.plain, case.forwarded()
    exact = all(torch.equal(before[place], again[place]) for place in before)
    hooks = _hooks(case.model)
    use()
    found = errors(case.forwarded(), before)
    found |= {f"hooks on {name}": float(now != hooks[name]) for name, now in _hooks(case.model).items()}
    if exact:
        return Outcome(found, 0.0, "the same computation on the same weights is the same bit for bit")
    return Outcome(found, case.tolerance, f"this model repeats itself inexactly; {case.why}")


def _hooks(model: Model) -> dict[str, object]:
    def on(module: nn.Module) -> tuple[object, ...]:
        return list(module._forward_pre_hooks), list(module._forward_hooks), module.__dict__.get("generate")

    found: dict[str, object] = {
        name or type(model.hf).__name__: on(module) for name, module in model.hf.named_modules()
    }
    return found | {"the batch": model.layout}
