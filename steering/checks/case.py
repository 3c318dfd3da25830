"""Case: the model, texts and direction that every property is tested on; and how two readings are compared."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.collect import collect
from lens.errors import ModelError, SiteError
from lens.model import Model
from lens.sites import Site
from lens.tokens import Batch, PaddingSide, Row, encode, pad
from probes.direction import Direction
from steering.checks import offers

NEW_TOKENS = 8
STRENGTH = 0.5
SLACK = 4.0
LOGITS = "logits"

# At each place, by its name and in the order of the forward pass: one vector per token, as float32 on the CPU.
Reading = Mapping[str, Float[Tensor, "_ _"]]
Errors = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a property came to: the relative error at each place, in the order of the forward pass, the tolerance,
    and why that tolerance. It holds where no error is above the tolerance; nan is above every tolerance."""

    errors: Errors
    tolerance: float
    why: str


@dataclass(frozen=True)
class NotApplicable:
    """A property that this model cannot have, for a reason known beforehand."""

    reason: str


@dataclass(frozen=True)
class Case:
    """What properties are tested on.

    rows: the texts, tokenised. direction: a random unit vector in the middle of the model. sites: every place that
    can be read, in the order of the forward pass. logits: whether the logits are compared too.
    """

    model: Model
    texts: list[str]
    rows: list[Row]
    direction: Direction
    sites: tuple[Site, ...]
    logits: bool
    tolerance: float
    why: str

    def alone(self, number: int) -> Batch:
        """One text as a batch of its own, without any padding."""
        return pad(self.rows, [number], pad_id=self.model.pad_id).to(self.model.device)

    def collected(self, *, padding_side: PaddingSide = "right", batch_tokens: int = 8192) -> Reading:
        """What `lens.collect` reads at every site, over all tokens of the texts."""
        acts = collect(
            self.model,
            self.texts,
            sites=list(self.sites),
            span="prompt",
            pool="none",
            batch_tokens=batch_tokens,
            padding_side=padding_side,
            progress=False,
        )
        assert acts.mask is not None
        return {str(site): acts[site][acts.mask] for site in self.sites}

    @cached_property
    def unpadded(self) -> Reading:
        """What is collected from each text by itself."""
        return self.collected(batch_tokens=1)

    @cached_property
    def plain(self) -> Reading:
        """What the untouched model computes."""
        return self.forwarded()

    def forwarded(self) -> Reading:
        """What hooks see at every site, and the logits, text by text."""
        seen: dict[str, list[Tensor]] = {}
        with watched(self, lambda place, h: seen.setdefault(place, []).append(h[0])), torch.no_grad():
            for number in range(len(self.rows)):
                self.model.forward(self.alone(number))
        return {place: torch.cat(parts) for place, parts in seen.items()}

    @property
    def new_tokens(self) -> int:
        """How many tokens are generated. Raises ModelError where the context leaves no room for two."""
        longest = max(len(row) for row in self.rows)
        room = NEW_TOKENS if self.model.context is None else min(NEW_TOKENS, self.model.context - longest)
        if room < 2:
            raise ModelError(f"The longest text has {longest} tokens, the context holds {self.model.context}.")
        return room


def make(model: Model, texts: list[str], rows: list[Row], seed: int) -> Case:
    """The case for a model and tokenised texts."""
    site = Site("resid_post", model.n_layers // 2)
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(seed))
    # Without the model's fingerprint: a model that an edit has spoilt is to be told so, not refused.
    direction = Direction.from_vector(vector, site)
    sites = readable(model)
    # A rounding of 16 bits is enough for a router to pick another expert: what comes after says nothing.
    jumps = offers.routes_experts(model) and torch.finfo(model.dtype).eps > 1e-4
    if jumps:
        sites = before_experts(sites)
    tolerance, why = rounding(model, model.dtype)
    case = Case(model, texts, rows, direction, sites, not (jumps or model.is_encoder), tolerance, why)
    norm = replace(case, sites=(site,)).plain[str(site)].norm(dim=-1).mean()
    return replace(case, direction=replace(direction, residual_norm=float(norm)))


def readable(model: Model) -> tuple[Site, ...]:
    """Every site of the model, in the order of the forward pass; without attention and MLP where they are not
    offered or do not add up (that is for the property `writers` to tell)."""
    inner = [] if offers.no_writers(model) else ["attn_out", "mlp_out"]
    inner += [] if offers.no_mid(model) else ["resid_mid"]
    try:
        model.sites(inner or "resid_post")
    except SiteError:
        inner = []
    order = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    kinds = [kind for kind in order if kind in inner or kind in ("resid_pre", "resid_post")]
    return tuple(Site(kind, layer) for layer in range(model.n_layers) for kind in kinds)


def before_experts(sites: Sequence[Site]) -> tuple[Site, ...]:
    """The sites that no expert has written to."""
    return tuple(site for site in sites if site.layer == 0 and site.kind in ("resid_pre", "attn_out", "resid_mid"))


def rounding(model: Model, dtype: torch.dtype) -> tuple[float, str]:
    """How far two right computations of the same stream may differ, relative to its norm, and why.

        SLACK · √(2 · blocks + 1) · (eps + √d_model · eps_sum)

    Each of the 2 · blocks + 1 writes rounds the stream once (eps, of its dtype) and sums d_model products in float32
    (eps_sum; TF32's on a GPU that uses it); independent roundings add up as a random walk. SLACK is for what norms and
    attention amplify.
    """
    tf32 = model.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    eps, sums = torch.finfo(dtype).eps, 2.0**-10 if tf32 else torch.finfo(torch.float32).eps
    writes = 2 * model.n_layers + 1
    tolerance = SLACK * math.sqrt(writes) * (eps + math.sqrt(model.d_model) * sums)
    name = str(dtype).removeprefix("torch.")
    why = f"{SLACK:g}·√({writes} writes)·({eps:.1e}, eps of {name}, + √{model.d_model}·{sums:.1e}, of its sums)"
    return tolerance, why


def errors(got: Reading, wanted: Reading) -> Errors:
    """At each place, the largest error of a token, relative to the norm of what is wanted there; what attention and
    MLP add is measured against the stream they add it to, where that is larger."""
    return {place: float(token_errors(got, wanted, place).max()) for place in wanted}


def token_errors(got: Reading, wanted: Reading, place: str) -> Float[Tensor, " tokens"]:
    """The relative error of each token at one place."""
    scale = wanted[place].norm(dim=-1)
    kind, _, layer = place.partition(".")
    if kind in ("attn_out", "mlp_out"):
        scale = torch.maximum(scale, wanted[f"resid_pre.{layer}"].norm(dim=-1))
    return (got[place] - wanted[place]).norm(dim=-1) / scale.clamp(min=torch.finfo(torch.float32).tiny)


@contextmanager
def watched(case: Case, see: Callable[[str, Float[Tensor, "batch pos width"]], None]) -> Iterator[None]:
    """Whatever runs inside is shown, place by place, to `see`: the stream at every site, and the centred logits."""
    model = case.model

    def hook(place: str) -> Callable[[Tensor], None]:
        # A copy: some blocks add to it in place afterwards.
        return lambda h: see(place, h.detach().float().cpu().clone())

    def logits(module: nn.Module, args: object, output: Any) -> None:
        values = output.logits.detach().float()
        see(LOGITS, (values - values.mean(dim=-1, keepdim=True)).cpu())

    with ExitStack() as undo:
        for site in case.sites:
            undo.callback(model.attach(site, hook(str(site))).remove)
        if case.logits:
            undo.callback(model.hf.register_forward_hook(logits).remove)
        yield


def random_texts(model: Model, seed: int) -> list[str]:
    """Random tokens of the vocabulary, in texts of different lengths that leave room to generate."""
    generator = torch.Generator().manual_seed(seed)
    special = set(model.tokenizer.all_special_ids)
    plain = [token for token in range(min(len(model.tokenizer), 5000)) if token not in special]
    room = 10**6 if model.context is None else model.context - min(NEW_TOKENS, model.context // 2)
    texts = []
    for length in (3, 17, 5, 9):
        if room < 17:
            length = limit = max(1, round(length * room / 17))
        else:
            limit = room
        picked = torch.randint(len(plain), (length,), generator=generator).tolist()
        text = model.tokenizer.decode([plain[k] for k in picked]).strip() or "a"
        # Texts may have more tokens than were drawn: a token can be part of a letter.
        while len(text) > 1 and len(encode(model.tokenizer, text)) > limit:
            text = text[: -max(1, len(text) // 8)]
        texts.append(text)
    return texts
