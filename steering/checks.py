"""Check: prove on the user's own model that reading, steering and editing do what they say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lens.collect import collect
from lens.errors import LensError, ModelError, SiteError
from lens.examples import Examples
from lens.generation import generate
from lens.model import Model
from lens.sites import Site
from lens.tokens import Batch, pad
from probes.direction import Direction
from steering.apply import apply
from steering.edit import Orthogonalize, edit
from steering.interventions import Ablate, Add, writers

STRENGTH = 0.5


@dataclass(frozen=True)
class _Case:
    model: Model
    texts: list[str]
    direction: Direction
    tolerance: float


def check(model: Model, *, texts: Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """Prove on this model, in seconds, what all results rest on.

    One row per check, with `passed` (True, False, or missing where it does not apply), the relative `error`, its
    `tolerance`, and `what` was compared. Checks: padding (left = right = alone), sites (residuals = Hugging Face
    hidden states, last block before the final norm, writers add up), cache (same greedy tokens with and without
    KV cache, and batched or alone, under an intervention), undo (hooks leave no trace; an edit equals zero-ablation
    at every writer and is undone bit for bit).

    texts: prompts to check on; by default, random tokens of the vocabulary in texts of different lengths.
    """
    chosen = list(texts) if texts is not None else _random_texts(model, seed)
    layer = model.n_layers // 2
    generator = torch.Generator().manual_seed(seed)
    acts = collect(model, chosen, sites=[Site("resid_post", layer)], span="prompt", progress=False)
    direction = Direction.from_vector(
        torch.randn(model.d_model, generator=generator),
        Site("resid_post", layer),
        model=model,
        residual_norm=float(acts[f"resid_post.{layer}"].norm(dim=-1).mean()),
    )
    case = _Case(model, chosen, direction, 1e-5 if model.dtype == torch.float32 else 3e-2)
    rows = [_run(name, what, function, case) for name, what, function in CHECKS]
    return pd.DataFrame(rows, columns=["check", "what", "passed", "error", "tolerance", "note"])


def _run(name: str, what: str, function: Callable[[_Case], tuple[float, float]], case: _Case) -> dict[str, object]:
    try:
        error, tolerance = function(case)
    except (SiteError, ModelError) as reason:
        return {"check": name, "what": what, "passed": None, "note": f"not offered here: {reason}"}
    except LensError as reason:
        return {"check": name, "what": what, "passed": False, "note": str(reason)}
    return {
        "check": name,
        "what": what,
        "passed": error <= tolerance,
        "error": error,
        "tolerance": tolerance,
        "note": "",
    }


def _relative(got: Tensor, wanted: Tensor) -> float:
    """The largest error of a row, relative to the row's norm."""
    return float(((got.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1)).max())


def _padding(case: _Case) -> tuple[float, float]:
    model, examples = case.model, Examples.from_texts(case.texts)
    alone = collect(model, examples, span="prompt[-1]", batch_tokens=1, progress=False)
    left = collect(model, examples, span="prompt[-1]", padding_side="left", progress=False)
    right = collect(model, examples, span="prompt[-1]", padding_side="right", progress=False)
    errors = [_relative(other[site], alone[site]) for other in (left, right) for site in alone.sites]
    return float(np.max(errors)), case.tolerance


def _batches_alone(case: _Case) -> list[Batch]:
    rows = case.model.rows(case.texts)
    return [pad(rows, [k], pad_id=case.model.pad_id).to(case.model.device) for k in range(len(rows))]


def _hidden_states(case: _Case) -> tuple[float, float]:
    model, errors = case.model, []
    acts = collect(model, case.texts, span="prompt[-1]", progress=False)
    norm = model.hf.get_submodule(model.parts.final_norm) if model.parts.final_norm and not model.is_encoder else None
    for number, batch in enumerate(_batches_alone(case)):
        with torch.no_grad():
            states = model.hf(batch.ids, attention_mask=batch.mask, output_hidden_states=True).hidden_states
        for layer in range(model.n_layers):
            ours = acts[f"resid_post.{layer}"][number][None]
            if layer == model.n_layers - 1 and norm is not None:
                with torch.no_grad():
                    ours = norm(ours.to(model.device, model.dtype))
            errors.append(_relative(ours, states[layer + 1][:, -1].to(ours.device)))
    return float(np.max(errors)), case.tolerance


def _writers(case: _Case) -> tuple[float, float]:
    model = case.model
    acts = collect(model, case.texts, sites=[*writers(model), "resid_post.-1"], span="prompt", progress=False)
    total = sum(acts[site] for site in writers(model))
    assert isinstance(total, Tensor)
    return _relative(total, acts[f"resid_post.{model.n_layers - 1}"]), case.tolerance


def _steered_ids(case: _Case, texts: list[str], *, use_cache: bool) -> list[list[int]]:
    with apply(case.model, Add(case.direction, STRENGTH)):
        made = generate(case.model, texts, max_new_tokens=12, use_cache=use_cache)
    return [one.ids for one in made]


def _difference(case: _Case, left: list[list[int]], right: list[list[int]]) -> tuple[float, float]:
    """How clearly the model preferred one token over the other where two runs part, relative to the spread of its
    logits: greedy choices between all but equal tokens may flip by rounding."""
    starts = case.model.rows(case.texts)
    margins = [0.0]
    for start, one, two in zip(starts, left, right, strict=True):
        place = next((k for k, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), None)
        if place is None:
            margins.append(0.0 if len(one) == len(two) else float("inf"))
            continue
        forced = replace(start, ids=start.ids + one[:place])
        batch = pad([forced], [0], pad_id=case.model.pad_id).to(case.model.device)
        with apply(case.model, Add(case.direction, STRENGTH)):
            logits = case.model.next_token_logits(batch)[0]
        margins.append(float((logits[one[place]] - logits[two[place]]).abs() / logits.std()))
    return float(np.max(margins)), 10 * case.tolerance


def _cache(case: _Case) -> tuple[float, float]:
    cached = _steered_ids(case, case.texts, use_cache=True)
    return _difference(case, cached, _steered_ids(case, case.texts, use_cache=False))


def _generation_alone(case: _Case) -> tuple[float, float]:
    together = _steered_ids(case, case.texts, use_cache=True)
    alone = [_steered_ids(case, [text], use_cache=True)[0] for text in case.texts]
    return _difference(case, together, alone)


def _steered(case: _Case) -> tuple[float, float]:
    """What the site shows after an addition: strength · unit · v on the span's tokens, nothing on the others."""
    model, site = case.model, case.direction.site
    change = Add(case.direction, STRENGTH, span="prompt[-1]")
    with apply(model, change):
        steered = collect(model, case.texts, sites=[site], span="prompt", pool="none", progress=False)
    plain = collect(model, case.texts, sites=[site], span="prompt", pool="none", progress=False)
    wanted = plain[site].clone()
    assert plain.mask is not None
    last = plain.mask.sum(dim=1) - 1
    wanted[torch.arange(len(last)), last] = change(wanted[torch.arange(len(last)), last].to(model.dtype)).float()
    if torch.equal(wanted, plain[site]):
        return float("inf"), case.tolerance
    error = (steered[site] - wanted)[plain.mask].norm(dim=-1).max() / plain[site][plain.mask].norm(dim=-1).mean()
    return float(error), case.tolerance


def _logits(case: _Case) -> Tensor:
    if case.model.is_encoder:
        raise ModelError(f"{case.model.name} is an encoder: it has no logits.")
    return torch.cat([case.model.next_token_logits(batch) for batch in _batches_alone(case)])


def _no_trace(case: _Case) -> tuple[float, float]:
    before = _logits(case)
    with apply(case.model, Add(case.direction, 1.0)):
        _logits(case)
    return float((_logits(case) - before).abs().max()), 0.0


def _edit_is_hook(case: _Case) -> tuple[float, float]:
    model = case.model
    everywhere = Ablate(case.direction, to="zero", sites=writers(model), span="all")
    with apply(model, everywhere):
        hooked = _logits(case)
    with edit(model, Orthogonalize(case.direction)):
        edited = _logits(case)
    return float((edited - hooked).abs().max() / hooked.std()), 10 * case.tolerance


def _undo(case: _Case) -> tuple[float, float]:
    before = {name: tensor.detach().clone() for name, tensor in case.model.hf.state_dict().items()}
    edit(case.model, Orthogonalize(case.direction)).undo()
    after = case.model.hf.state_dict()
    return float(sum(not torch.equal(after[name], tensor) for name, tensor in before.items())), 0.0


CHECKS: tuple[tuple[str, str, Callable[[_Case], tuple[float, float]]], ...] = (
    ("padding", "activations: left-padded = right-padded = alone", _padding),
    ("sites", "resid_post = Hugging Face hidden states (last block: after its final norm)", _hidden_states),
    ("writers", "embeddings + attn_out + mlp_out of all blocks = last resid_post", _writers),
    ("steering", "residuals under an addition: moved by it on the span's tokens, untouched elsewhere", _steered),
    ("cache", "steered greedy tokens with KV cache = without (error: margin of a flipped choice)", _cache),
    ("batch", "steered greedy tokens in a padded batch = one by one (same)", _generation_alone),
    ("hooks", "logits after a steered run = before, bit for bit", _no_trace),
    ("edit", "edited weights = zero-ablation at every writer", _edit_is_hook),
    ("undo", "parameters changed by an edit and its undo", _undo),
)


def _random_texts(model: Model, seed: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    special = set(model.tokenizer.all_special_ids)
    plain = [token for token in range(min(len(model.tokenizer), 5000)) if token not in special]
    texts = []
    for length in (3, 17, 5, 9):
        picked = torch.randint(len(plain), (length,), generator=generator).tolist()
        text = model.tokenizer.decode([plain[k] for k in picked]).strip()
        texts.append(text or "a")
    return texts
