"""Model: an untouched Hugging Face model with named places to read and write."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lens.adapters import build_bridge, find_parts
from lens.errors import ModelError, SiteError, available
from lens.examples import Examples
from lens.fingerprint import weights_hash
from lens.sites import KINDS, Kind, Site, resolve
from lens.token_view import TokenView, selected
from lens.tokens import Batch, Rows, Truncate, encode, encode_all

Hook = Callable[[Tensor], Tensor | None]


@dataclass(frozen=True)
class Layout:
    """The batch now running: which of the table's `total` rows it holds, where each prompt ends, and where the text
    ends (None while it is being generated)."""

    rows: Int[Tensor, " batch"]
    prompt_length: Int[Tensor, " batch"]
    length: Int[Tensor, " batch"] | None
    total: int


class Model:
    """A Hugging Face causal language model (or encoder) and its tokenizer, left as they are.

    Made by `lens.load` and `lens.wrap`. Reading and steering put hooks on the model's own modules, so its
    attention kernels, numerics and `save_pretrained` stay Hugging Face's.

    hf, tokenizer: the wrapped objects. n_layers, d_model: blocks and width. context: longest text in tokens
    (None where the model sets no limit). edits, applied: weight edits and interventions now in force, by their
    identifiers.
    """

    def __init__(self, hf: Any, tokenizer: Any, *, name: str) -> None:
        self.hf, self.tokenizer, self.name = hf, tokenizer, name
        hf.eval()
        self.parts = find_parts(hf)
        self.blocks: nn.ModuleList = hf.get_submodule(self.parts.blocks)
        config = hf.config.get_text_config()
        self.n_layers = len(self.blocks)
        self.d_model: int = config.hidden_size
        self.context = _context(hf, config, self.parts.embeddings)
        self.is_encoder = not hf.can_generate()
        self.layout: Layout | None = None
        self.edits: list[str] = []
        self.applied: list[str] = []
        self._unedited: str | None = None
        self._checked: frozenset[str] = frozenset()
        self._bridge: tuple[tuple[str, ...], Any] | None = None

    def __repr__(self) -> str:
        kind = "encoder" if self.is_encoder else "causal LM"
        return (
            f"Model({self.name!r}, {type(self.hf).__name__}, {kind}: {self.n_layers} blocks of width "
            f"{self.d_model}, {self.dtype}, {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """Where token ids go. Of a model spread over devices, the first that holds parameters."""
        held = (parameter.device for parameter in self.hf.parameters() if not parameter.is_meta)
        offloaded = getattr(getattr(self.hf, "_hf_hook", None), "execution_device", None)
        return next(held, torch.device(offloaded if offloaded is not None else "cpu"))

    @property
    def dtype(self) -> torch.dtype:
        return next(self.hf.parameters()).dtype

    @property
    def pad_id(self) -> int:
        candidates = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        return next(token for token in candidates if token is not None)

    @property
    def fingerprint(self) -> str:
        """What tells this model from others: architecture, parameter names and shapes, and 64 evenly spaced
        values of every tensor. A change that leaves all sampled values alone is not seen; a dtype that keeps
        the checkpoint's values does not count. Weight edits made by `steering.edit` are appended by name."""
        return "+".join([self.base_fingerprint, *self.edits])

    @property
    def base_fingerprint(self) -> str:
        """The fingerprint without the edits now in force."""
        return self._unedited or weights_hash(self.hf)

    def note_edit(self, name: str) -> None:
        """Called before weights are edited: from here on the fingerprint is the base's plus this name."""
        self._unedited = self.base_fingerprint
        self.edits.append(name)

    def forget_edit(self, name: str) -> None:
        """Called after an edit was undone."""
        self.edits.remove(name)
        if not self.edits:
            self._unedited = None

    @property
    def bridge(self) -> Any:
        """A TransformerLens `TransformerBridge` on the same parameters, built on first use and after an edit:
        heads, attention patterns, logit lens, patching."""
        edits = tuple(self.edits)
        if self._bridge is None or self._bridge[0] != edits:
            self._bridge = (edits, build_bridge(self.hf, self.tokenizer, self.name, self.parts.known_as))
        return self._bridge[1]

    @cached_property
    def trunk(self) -> nn.Module:
        """The innermost module that holds the blocks and is called with token ids and the attention mask."""
        path = self.parts.blocks
        while path:
            path = path.rpartition(".")[0]
            module = self.hf.get_submodule(path)
            if "input_ids" in inspect.signature(module.forward).parameters:
                return module
        raise ModelError(f"{type(self.hf).__name__}: no module around {self.parts.blocks!r} takes input_ids.")

    def sites(self, sites: "str | Site | Sequence[str | Site]") -> list[Site]:
        """Expand and check sites. Raises SiteError: unknown, or not offered by this architecture."""
        found = resolve(sites, n_layers=self.n_layers)
        for site in found:
            if not site.in_bridge:
                self._place(site)
        inner = frozenset(site.kind for site in found) & {"attn_out", "mlp_out", "resid_mid"}
        if inner - self._checked:
            self._check_writers(inner)
        return found

    def attach(self, site: Site, hook: Hook) -> Any:
        """Put a function on a site: it is given `[batch, pos, d_model]` and returns None, or what to put there.

        Returns a handle with `.remove()`.
        """
        module, end = self._place(site)
        if end == "input":
            return module.register_forward_pre_hook(partial(_on_input, hook), with_kwargs=True)
        return module.register_forward_hook(partial(_on_output, hook))

    def _place(self, site: Site) -> tuple[nn.Module, Literal["input", "output"]]:
        if site.in_bridge:
            raise SiteError(f"{site} is read through the bridge; a hook here can be put on: {available(KINDS)}.")
        block, parts = self.blocks[site.layer], self.parts
        names: dict[str, tuple[str | None, Literal["input", "output"]]] = {
            "resid_pre": ("", "input"),
            "attn_out": (parts.attn_norm or parts.attn, "output"),
            "resid_mid": (parts.mid, "input"),
            "mlp_out": (parts.mlp_norm or parts.mlp, "output"),
            "resid_post": ("", "output"),
        }
        name, end = names[site.kind]
        if name is None or (self.is_encoder and name):
            raise SiteError(
                f"{site.kind} is not a separate place in {type(self.hf).__name__}; available: resid_pre, resid_post."
            )
        return block.get_submodule(name), end

    def _check_writers(self, kinds: frozenset[str]) -> None:
        """Run a few tokens and see that parts add up: an adapter's name for a part does not say that the part's
        output goes into the stream unchanged, nor that the MLP reads what attention has written."""
        read: list[Kind] = ["resid_pre", "attn_out", "mlp_out", "resid_post"]
        read += ["resid_mid"] if "resid_mid" in kinds else []
        sites = [Site(kind, layer) for layer in range(self.n_layers) for kind in read]
        seen: dict[Site, Tensor] = {}

        def keep(site: Site) -> Hook:
            def hook(h: Tensor) -> None:
                # A copy: some blocks add to it in place afterwards.
                seen[site] = h.detach().float().clone()

            return hook

        handles = [self.attach(site, keep(site)) for site in sites]
        ids = torch.tensor([[self.pad_id, *range(min(5, self.hf.config.vocab_size))]], device=self.device)
        try:
            with torch.no_grad():
                self.hf(input_ids=ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        tolerance = 1e-4 if self.dtype == torch.float32 else 2e-2
        for layer in range(self.n_layers):
            pre, attn, mlp, post = (seen[Site(kind, layer)] for kind in read[:4])
            claims = {"attn_out + mlp_out is not what the block adds": (pre + attn + mlp, post)}
            if "resid_mid" in kinds:
                claims["resid_mid is not resid_pre + attn_out"] = (pre + attn, seen[Site("resid_mid", layer)])
            for claim, (sum_, whole) in claims.items():
                error = float((sum_ - whole).norm() / whole.norm())
                if not error <= tolerance:
                    raise SiteError(
                        f"{type(self.hf).__name__}: in block {layer}, {claim} (relative error {error:.1e}); "
                        "available: resid_pre, resid_post."
                    )
        self._checked |= kinds

    def rows(
        self,
        prompts: Sequence[Any],
        responses: Sequence[str | None] | None = None,
        *,
        truncate: Truncate | None = None,
    ) -> Rows:
        """Tokenise prompts (texts or chat messages) and responses. Raises DataError naming a row that is longer than
        the context, unless told which end to cut (`truncate`)."""
        return encode_all(self.tokenizer, prompts, responses, context=self.context, truncate=truncate)

    def show_tokens(self, prompt: Any, response: str | None = None, *, span: str = "all") -> TokenView:
        """The tokens of one example with those of a span marked."""
        row = encode(self.tokenizer, prompt, response)
        tokens = self.tokenizer.convert_ids_to_tokens(row.ids)
        return TokenView(tokens, selected(row, span), row.prompt_length)

    @contextmanager
    def laid_out(self, batch: Batch, *, generating: bool = False) -> Iterator[None]:
        """Say which rows run inside and where their prompts end, for interventions. Nests."""
        length = None if generating else batch.length
        before, self.layout = self.layout, Layout(batch.rows, batch.prompt_length, length, batch.total)
        try:
            yield
        finally:
            self.layout = before

    def forward(self, batch: Batch, *, last_logits: bool = False) -> Any:
        """Run one padded batch; explicit mask, and explicit positions where the model takes them.

        With `last_logits`, only the logits of the last column are computed where the model can.
        """
        inputs: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if "position_ids" in self.forward_options and not self.is_encoder:
            inputs["position_ids"] = batch.index.clamp(min=0)
        if "use_cache" in self.forward_options:
            inputs["use_cache"] = False
        if last_logits and "logits_to_keep" in self.forward_options:
            inputs["logits_to_keep"] = 1
        with self.laid_out(batch):
            return self.hf(**inputs)

    @cached_property
    def forward_options(self) -> set[str]:
        """Names that the model's forward pass takes."""
        return set(inspect.signature(self.hf.forward).parameters)

    def next_token_logits(self, batch: Batch) -> Float[Tensor, "batch vocab"]:
        """Logits of the token after each row of a left-padded batch, as float32 on the model's device."""
        if self.is_encoder:
            raise ModelError(f"{self.name} is an encoder: it predicts no next token.")
        with torch.no_grad():
            return self.forward(batch, last_logits=True).logits[:, -1].float()

    def generate(self, prompts: Any, *, max_new_tokens: int | None = None, config: Any = None, **fields: Any) -> Any:
        """Continue one prompt (returns a text) or a list of them (returns a list of texts).

        Greedy unless `do_sample=True`; 32 new tokens unless told otherwise. Other options are the fields of
        `transformers.GenerationConfig`, or a whole one as `config`. Raises ModelError: an encoder, or an unknown field.
        """
        from lens.generation import generate

        many = prompts.prompts if isinstance(prompts, Examples) else prompts
        single = isinstance(many, str) or (len(many) > 0 and isinstance(many[0], dict))
        many = [many] if single else many
        made = generate(self, many, max_new_tokens=max_new_tokens, config=config, **fields)
        return made[0].text if single else [one.text for one in made]


def _context(hf: Any, config: Any, embeddings: tuple[str, ...]) -> int | None:
    longest: int | None = getattr(config, "max_position_embeddings", None)
    tables = dict(hf.named_modules())
    # RoBERTa counts positions from its pad's id on, and that table alone has a pad.
    pad = next((tables[name].padding_idx for name in embeddings[1:2] if hasattr(tables.get(name), "padding_idx")), None)
    return longest - pad - 1 if longest is not None and pad is not None else longest


def _on_input(hook: Hook, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        new = hook(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    new = hook(kwargs["hidden_states"])
    return None if new is None else (args, {**kwargs, "hidden_states": new})


def _on_output(hook: Hook, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    if isinstance(output, tuple | list):
        new = hook(output[0])
        return None if new is None else (new, *output[1:])
    return hook(output)
