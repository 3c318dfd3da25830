"""Gates at work: the scores of each prompt's tokens, kept until the prompt has been read, then the decision."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lens.errors import SpanError
from lens.spans import Span
from steering.interventions import Gate, Rule


@runtime_checkable
class Pass(Protocol):
    """What is known of the pass that is running."""

    prompt_length: Int[Tensor, " batch"] | None

    def mask(self, span: Span, h: Tensor) -> Bool[Tensor, "batch pos"]: ...


class GateReader:
    """Scores per gate, from the first pass over a prompt on; a prompt may come in several passes."""

    def __init__(self, running: Pass) -> None:
        self._running = running
        self._read: dict[Gate, tuple[Tensor, Tensor]] = {}
        self._decided: dict[Gate, Bool[Tensor, " batch"]] = {}
        self._known: set[Gate] = set()

    def new(self, rule: Rule | None) -> list[Gate]:
        """The gates of a rule that nothing reads yet."""
        found = [gate for gate in (rule.gates if rule else ()) if gate not in self._known]
        self._known.update(found)
        return found

    def forget(self) -> None:
        """A new text begins."""
        self._read.clear()
        self._decided.clear()

    def reader(self, gate: Gate) -> Callable[[Tensor], None]:
        """What the gate's site runs; it changes nothing."""

        def read(h: Tensor) -> None:
            if gate in self._decided:
                return
            scores, mask = gate.direction.score(h), self._running.mask(gate.parsed, h)
            if gate in self._read:
                before = self._read[gate]
                scores, mask = (_joined(old, new) for old, new in zip(before, (scores, mask), strict=True))
            self._read[gate] = scores, mask
            assert self._running.prompt_length is not None
            first, end = gate.parsed.bounds(self._running.prompt_length, self._running.prompt_length)
            wanted = (end.minimum(self._running.prompt_length) - first.clamp(min=0)).clamp(min=0)
            if bool((mask.sum(dim=1) >= wanted.to(mask.device)).all()):
                self._decided[gate] = gate.open(scores, mask)

        return read

    def waits(self, rule: Rule) -> bool:
        """Whether a prompt that the rule reads has not passed whole."""
        return any(gate not in self._decided for gate in rule.gates)

    def open(self, rule: Rule, batch: int) -> Bool[Tensor, " batch"]:
        """For which rows of the batch a rule holds. Raises SpanError before its prompts have been read."""
        waiting = [gate for gate in rule.gates if gate not in self._decided]
        if waiting:
            raise SpanError(
                f"A gate reads {str(waiting[0].span)!r}, which has not passed yet; call the model with the whole "
                "prompt first, or let the intervention act from the last prompt token on."
            )
        held = rule.decide(self._decided)
        if batch % len(held):
            raise SpanError(f"Gates were read for {len(held)} rows; the model now runs {batch}.")
        return held.repeat_interleave(batch // len(held))


def _joined(old: Tensor, new: Tensor) -> Tensor:
    """Passes one behind the other; each row may have been repeated in between."""
    return torch.cat([old.repeat_interleave(len(new) // len(old), dim=0), new], dim=1)
