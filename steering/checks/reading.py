"""Properties of reading: what is collected is what the model computes, whatever it was batched with."""

import copy
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from lens.errors import DataError, ModelError
from lens.model import Model
from lens.sites import Site
from steering.checks import offers
from steering.checks.case import Case, NotApplicable, Outcome, Reading, before_experts, errors, rounding


def padding_left(case: Case) -> Outcome | NotApplicable:
    """Without it: a model that counts pads as positions, or attends to them, gives vectors that depend on the
    longest text of the batch (plain Hugging Face GPT-2 is off by a third)."""
    reason = offers.no_left_padding(case.model)
    if reason:
        return NotApplicable(reason)
    return _padded(case, case.collected(padding_side="left"))


def padding_right(case: Case) -> Outcome:
    """Without it: an encoder that attends to pads, or a last token that is a pad."""
    return _padded(case, case.collected(padding_side="right"))


def _padded(case: Case, got: Reading) -> Outcome:
    lengths = {len(row) for row in case.rows}
    if len(lengths) < 2:
        raise DataError(f"All texts have {lengths.pop()} tokens, so none was padded; give texts of different lengths.")
    return Outcome(errors(got, case.unpadded), case.tolerance, case.why)


def batch_order(case: Case) -> Outcome:
    """Without it: results that land on the wrong row, or that depend on what else is in the batch."""
    if len(case.texts) < 2:
        raise DataError("One text has no order; give at least two.")
    backwards = replace(case, texts=case.texts[::-1], rows=case.rows[::-1])
    turned = backwards.collected(batch_tokens=2 * max(len(row) for row in case.rows))
    lengths = [len(row) for row in backwards.rows]
    got = {place: torch.cat(array.split(lengths)[::-1]) for place, array in turned.items()}
    return Outcome(errors(got, case.unpadded), case.tolerance, case.why)


def hidden_states(case: Case) -> Outcome:
    """Without it: a layer off by one, or a last layer read after the final norm (24 times too long on a random
    Llama), as with `hidden_states[-1]`."""
    model = case.model
    last = model.n_layers - 1
    norm = model.hf.get_submodule(model.parts.final_norm) if model.parts.final_norm and not model.is_encoder else None
    entered: list[torch.Tensor] = []
    parts: dict[str, list[torch.Tensor]] = {}
    watch = norm.register_forward_pre_hook(lambda module, args: entered.append(args[0])) if norm else None
    try:
        with torch.no_grad():
            for number in range(len(case.rows)):
                batch = case.alone(number)
                states = model.hf(batch.ids, attention_mask=batch.mask, output_hidden_states=True).hidden_states
                places = {"resid_pre.0": states[0]}
                places |= {f"resid_post.{layer}": states[layer + 1] for layer in range(last)}
                places |= {f"resid_post.{last}": entered[-1] if norm else states[-1], "final norm": states[-1]}
                for place, state in places.items():
                    parts.setdefault(place, []).append(state[0].float().cpu())
    finally:
        if watch is not None:
            watch.remove()
    wanted = {place: torch.cat(part) for place, part in parts.items()}
    sites = tuple(Site(kind, layer) for layer in range(model.n_layers) for kind in ("resid_pre", "resid_post"))
    got = dict(replace(case, sites=sites).collected())
    got["final norm"] = got[f"resid_post.{last}"]
    if norm is not None:
        with torch.no_grad():
            got["final norm"] = norm(got["final norm"].to(model.device, model.dtype)).float().cpu()
    return Outcome(errors(got, wanted), case.tolerance, case.why)


def writers(case: Case) -> Outcome | NotApplicable:
    """Without it: an `attn_out` or `mlp_out` that is not what enters the stream, so that ablating it there leaves
    some of it behind."""
    model = case.model
    reason = offers.no_writers(model)
    if reason:
        return NotApplicable(reason)
    kinds = ("resid_pre", "attn_out", *(() if offers.no_mid(model) else ("resid_mid",)), "mlp_out", "resid_post")
    sites = tuple(Site(kind, layer) for layer in range(model.n_layers) for kind in kinds)
    seen = replace(case, sites=sites, logits=False).forwarded()
    wanted, got = dict(seen), dict(seen)
    stream = seen["resid_pre.0"]
    for layer in range(model.n_layers):
        for part, after in (("attn_out", "resid_mid"), ("mlp_out", "resid_post")):
            stream = stream + seen[f"{part}.{layer}"]
            if f"{after}.{layer}" in seen:
                got[f"{after}.{layer}"] = stream
    sums = {
        place: error for place, error in errors(got, wanted).items() if place.startswith(("resid_mid", "resid_post"))
    }
    return Outcome(sums, case.tolerance, case.why)


def precision(case: Case) -> Outcome | NotApplicable:
    """Without it: a model that is loaded in 16 bits and computes something else, not the same less exactly (a
    position, a scale or a mask that has no room in 16 bits)."""
    model = case.model
    low = torch.bfloat16 if torch.finfo(model.dtype).eps < 1e-4 else model.dtype
    other = low if model.dtype != low else torch.float32
    if not all(parameter.is_floating_point() and parameter.itemsize > 1 for parameter in model.hf.parameters()):
        return NotApplicable("Quantised weights: there is no copy of them in another precision.")
    needed = sum(parameter.numel() for parameter in model.hf.parameters()) * other.itemsize
    free = _free_bytes(model.device)
    if needed > 0.8 * free:
        return NotApplicable(f"A {other} copy needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free.")
    tolerance, why = rounding(model, low)
    twin = replace(case, model=Model(in_dtype(model.hf, other), model.tokenizer, name=model.name))
    if offers.routes_experts(model):
        sites = before_experts(case.sites)
        twin = replace(twin, sites=sites)
        why += "; up to the first router, where rounding may pick another expert"
    ours, theirs = {place: case.unpadded[place] for place in twin.unpadded}, twin.unpadded
    coarse, exact = (theirs, ours) if model.dtype != low else (ours, theirs)
    return Outcome(errors(coarse, exact), tolerance, why)


def in_dtype(hf: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy with its parameters in another dtype; buffers (rotary frequencies) stay as exact as they are."""
    memo: dict[int, object] = {id(buffer): buffer for buffer in hf.buffers()}
    memo |= {id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in hf.parameters()}
    return copy.deepcopy(hf, memo)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = Path("/proc/meminfo")
    if known.is_file():
        fields = dict(line.split(":", 1) for line in known.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        raise ModelError("This system does not say how much memory is free.")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
