"""Properties of generation: the same text with and without KV cache, in a batch and alone, steered and not.

What is compared is not the text, which hides small errors until a word changes, but the stream and the logits of every
new token.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from lens.errors import DataError, ModelError
from lens.generation import generate
from steering.apply import apply
from steering.checks import offers
from steering.checks.case import STRENGTH, Case, Errors, NotApplicable, Outcome, errors, watched
from steering.interventions import Add

Steering = Callable[[Sequence[int]], AbstractContextManager[None]]


def cache(case: Case) -> Outcome | NotApplicable:
    """Without it: a cached step that attends to pads, or counts its position from the wrong end."""
    return _cached(case, lambda rows: nullcontext())


def cache_steered(case: Case) -> Outcome | NotApplicable:
    """Without it: steering that stops after the prompt, or that acts twice, once tokens come one by one."""
    return _cached(case, lambda rows: apply(case.model, Add(case.direction, STRENGTH)))


def _cached(case: Case, steering: Steering) -> Outcome | NotApplicable:
    reason = offers.no_cache(case.model)
    if reason:
        return NotApplicable(reason)
    runs = [_Run(case, range(len(case.rows)), steering, use_cache=use_cache) for use_cache in (True, False)]
    if [run.one_by_one for run in runs] != [True, False]:
        raise ModelError("The model does not follow use_cache, so that nothing was compared.")
    return Outcome(_differences(*runs), case.tolerance, case.why)


def batched(case: Case) -> Outcome | NotApplicable:
    """Without it: an answer, or a strength per row, that depends on which other prompts are in the batch."""
    reason = offers.no_text(case.model)
    if reason:
        return NotApplicable(reason)
    if len(case.rows) < 2:
        raise DataError("One text makes no batch; give at least two.")
    strengths = torch.linspace(STRENGTH, -STRENGTH, len(case.rows))

    def steering(rows: Sequence[int]) -> AbstractContextManager[None]:
        return apply(case.model, Add(case.direction, strengths[list(rows)]))

    together = _Run(case, range(len(case.rows)), steering)
    alone = _Run(case, [], steering)
    for number in range(len(case.rows)):
        alone.add(_Run(case, [number], steering))
    return Outcome(_differences(together, alone), case.tolerance, case.why)


class _Run:
    """What some texts generate, and at every step the stream and the logits of the newest token.

    ids[row]; seen[row][place]: one `[width]` per step. one_by_one: whether each step after the first ran on one
    token only.
    """

    def __init__(self, case: Case, rows: Sequence[int], steering: Steering, *, use_cache: bool = True) -> None:
        self.case, self.ids, self.widths = case, dict[int, list[int]](), list[int]()
        self.seen: dict[int, dict[str, list[Tensor]]] = {number: {} for number in rows}
        if not rows:
            return

        def see(place: str, h: Tensor) -> None:
            assert case.model.layout is not None
            if place == str(case.sites[0]):
                self.widths.append(h.shape[1])
            for at, number in enumerate(case.model.layout.rows.tolist()):
                self.seen[rows[number]].setdefault(place, []).append(h[at, -1])

        texts = [case.texts[number] for number in rows]
        length = case.new_tokens
        with steering(rows), watched(case, see):
            # No text may stop early: its row would be filled up with pads.
            made = generate(case.model, texts, max_new_tokens=length, min_new_tokens=length, use_cache=use_cache)
        self.ids = {number: one.ids for number, one in zip(rows, made, strict=True)}

    @property
    def one_by_one(self) -> bool:
        return sum(width > 1 for width in self.widths) * self.case.new_tokens <= len(self.widths)

    def add(self, other: "_Run") -> None:
        self.ids |= other.ids
        self.seen |= other.seen


def _differences(got: _Run, wanted: _Run) -> Errors:
    """The errors step by step; rows are compared as long as both have generated the same tokens, since a choice
    between two all but equal logits may fall either way. Raises ModelError where that leaves the prompts only."""
    found: Errors = {}
    for step in range(got.case.new_tokens):
        rows = [number for number, ids in got.ids.items() if ids[:step] == wanted.ids[number][:step]]
        if not rows and step < 2:
            raise ModelError("The first token fell out differently in every row, so no step after it was compared.")
        if not rows:
            break
        both = [
            {place: torch.stack([run.seen[number][place][step] for number in rows]) for place in run.seen[rows[0]]}
            for run in (got, wanted)
        ]
        found |= {f"{place}, new token {step + 1}": error for place, error in errors(*both).items()}
    return found
