"""Apply: interventions inside a model, for as long as a `with` block lasts."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens.errors import ArtifactError, SiteError, SpanError
from lens.model import Model
from lens.spans import Span
from steering.gate_reader import GateReader
from steering.interventions import Intervention


@contextmanager
def apply(model: Model, *interventions: Intervention, other_model: bool = False) -> Iterator[None]:
    """Put interventions into a model for the length of the block.

        with steering.apply(model, steering.Add(honesty, -1.0)):
            print(model.generate("..."))

    Spans are followed through padding, cached and uncached generation and beam search; several interventions act in
    the order given, nested blocks from the outside in. A gate (`when=`) reads the prompt as it passes and decides for
    all that follows from it. Afterwards, also after an exception, the model is as it was. Everything that runs in the
    block is affected: `model.generate`, `lens.collect`, and direct calls of `model.hf` (whose whole input then counts
    as the prompt).

    Raises before anything runs: ArtifactError (a direction of another model, unless other_model=True), SiteError,
    SpanError.
    """
    for intervention in interventions:
        if not isinstance(intervention, Intervention):
            raise ArtifactError(
                f"apply takes interventions, such as Add(direction, 1.0); given: {type(intervention).__name__}."
            )
        intervention.check_model(model, other_model=other_model)
        _check_gates(model, intervention, other_model)
    tracker = _Tracker(model)
    with ExitStack() as undo:
        watch = model.trunk.register_forward_pre_hook(tracker.observe, with_kwargs=True)
        undo.callback(watch.remove)
        undo.enter_context(tracker.generation())
        for intervention in interventions:
            # In this order, so that a gate reads what its own intervention has not touched.
            for gate in tracker.gates.new(intervention.when):
                undo.callback(model.attach(gate.direction.site, tracker.gates.reader(gate)).remove)
            for site in intervention.places(model):
                undo.callback(model.attach(site, tracker.hook(intervention.at_site(site))).remove)
        named = [intervention.identifier for intervention in interventions]
        before, model.applied = model.applied, [*model.applied, *named]
        undo.callback(setattr, model, "applied", before)
        yield


def _check_gates(model: Model, intervention: Intervention, other_model: bool) -> None:
    first = min(intervention.places(model), key=lambda site: site.depth)
    for gate in intervention.when.gates if intervention.when else ():
        gate.direction.check_model(model, other_model=other_model)
        if gate.direction.site.depth > first.depth:
            raise SiteError(
                f"A gate at {gate.direction.site} has read nothing yet when {type(intervention).__name__} acts at "
                f"{first}; read at or before it."
            )


class _Tracker:
    """Knows, while a model runs, which token of which row sits at each position."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.generating = False
        self.rows: Int[Tensor, " batch"] | None = None
        self.prompt_length: Int[Tensor, " batch"] | None = None
        self.length: Int[Tensor, " batch"] | None = None
        self.index: Int[Tensor, "batch pos"] | None = None
        self.past = 0
        self.total = 0
        self.gates = GateReader(self)
        self._waiting: tuple[Any, int, int, torch.device] | None = None
        self._signature = inspect.signature(model.trunk.forward)

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Have `hf.generate` announce itself: only its first step tells where the prompt ends."""
        hf = self.model.hf
        if not hasattr(hf, "generate"):  # an encoder
            yield
            return
        before = hf.__dict__.get("generate")
        run: Callable[..., Any] = hf.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            self.generating, self.prompt_length = True, None
            try:
                return run(*args, **kwargs)
            finally:
                self.generating, self.prompt_length = False, None

        hf.__dict__["generate"] = generate
        try:
            yield
        finally:
            if before is None:
                del hf.__dict__["generate"]
            else:
                hf.__dict__["generate"] = before

    def observe(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each forward pass: number the real tokens of every row."""
        given = kwargs
        if args:
            given = self._signature.bind(*args, **kwargs).arguments
            given |= given.pop("kwargs", {})
        tokens = given.get("input_ids")
        tokens = given.get("inputs_embeds") if tokens is None else tokens
        if tokens is None:
            raise SpanError("The model was called without input_ids or inputs_embeds; spans cannot be followed.")
        batch, width = tokens.shape[:2]
        past = given.get("past_key_values")
        self.past = past.get_seq_length() if past is not None else 0
        self._waiting = given.get("attention_mask"), batch, width, tokens.device
        if self.past == 0:
            self.gates.forget()
            self._place()

    def _place(self) -> None:
        """Find rows and places of the tokens that now run. A decoding step of an open span never asks."""
        if self._waiting is None:
            return
        (mask, batch, width, device), self._waiting = self._waiting, None
        self.index = self._number(mask, batch, width, device)
        layout = self.model.layout
        if layout is not None:
            copies = batch // len(layout.rows)
            spread = (
                None if t is None else t.to(device).repeat_interleave(copies)
                for t in (layout.rows, layout.prompt_length, layout.length)
            )
            self.rows, self.prompt_length, self.length = spread
            self.total = layout.total
            return
        whole = self.past == 0 and not self.generating
        if whole or self.prompt_length is None or len(self.prompt_length) != batch:
            self.rows, self.total = torch.arange(batch, device=device), batch
            self.prompt_length = self.index.amax(dim=1) + 1
        self.length = self.prompt_length if whole else None

    def _number(self, mask: Tensor | None, batch: int, width: int, device: torch.device) -> Int[Tensor, "batch pos"]:
        if mask is None:
            return torch.arange(self.past, self.past + width, device=device).expand(batch, width)
        if mask.ndim != 2 or mask.shape[1] < width:
            raise SpanError(
                f"An attention mask of shape {list(mask.shape)} does not say which tokens are real; give one of shape "
                "[batch, tokens]."
            )
        return torch.where(mask == 1, mask.cumsum(dim=1) - 1, -1)[:, -width:]

    def hook(self, intervention: Intervention) -> Callable[[Tensor], Tensor]:
        """What a site runs: the intervention on the tokens of its span, everything else as it came."""
        span = Span.parse(intervention.span)
        onward = str(span) in ("prompt[-1]:", "response", "all")

        def change(h: Tensor) -> Tensor:
            new = self._of_rows(intervention)(h)
            # A decoding step under an open span steers its one token, without looking.
            whole = onward and h.shape[1] == 1 and self.past > 0
            if whole and intervention.when is None:
                return new
            acts = torch.ones(h.shape[:2], dtype=torch.bool, device=h.device) if whole else self.mask(span, h)
            if intervention.when is not None:
                if self.gates.waits(intervention.when) and not bool(acts.any()):
                    return h  # a prompt that comes in several passes, and nothing here to act on
                acts = acts & self.gates.open(intervention.when, len(h)).to(h.device)[:, None]
            return torch.where(acts[..., None], new, h)

        return change

    def _of_rows(self, intervention: Intervention) -> Intervention:
        if not intervention.differs_by_row:
            return intervention
        self._place()
        assert self.rows is not None
        return intervention.at_rows(self.rows, self.total)

    def mask(self, span: Span, h: Tensor) -> Bool[Tensor, "batch pos"]:
        """Which tokens of the pass that is running are in a span."""
        self._place()
        assert self.index is not None and self.prompt_length is not None
        if self.index.shape != h.shape[:2]:
            raise SpanError(
                f"The site runs on {list(h.shape[:2])} tokens, the model was called with {list(self.index.shape)}; "
                "call the whole model, not a part of it."
            )
        index = self.index.to(h.device)
        length = None if self.length is None else self.length.to(h.device)
        return span.select(index, self.prompt_length.to(h.device), length)
