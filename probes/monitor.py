"""Monitor: a direction's score of every token as it is generated, with a threshold from control texts.

    score(hₜ) = norm · v · hₜ + bias;      a text is flagged where max_t score(hₜ) > threshold

threshold: the largest score that at most a share `fpr` of *control* texts exceed anywhere. A false alarm is a control
text flagged at any token, so longer texts than the controls raise more of them.

Source: the threshold at a fixed false-positive rate on ordinary chats as in Goldowsky-Dill et al., Detecting Strategic
Deception Using Linear Probes (2025).
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.activations import Activations
from lens.errors import DataError, ModelError
from lens.examples import Examples, Prompt
from lens.generation import Generation, prompt_batches, run, settings_for
from lens.intervals import wilson
from lens.model import Model
from lens.tokens import Batch
from probes.direction import Direction

OnToken = Callable[[int, float], None]


@dataclass(frozen=True)
class Watched:
    """A text with the score of each of its tokens. stopped: generation was ended at the flagged token."""

    text: str
    tokens: tuple[str, ...]
    scores: Float[np.ndarray, " tokens"]
    threshold: float
    stopped: bool

    @property
    def first(self) -> int | None:
        """The first token above the threshold."""
        above = np.flatnonzero(self.scores > self.threshold)
        return int(above[0]) if len(above) else None

    @property
    def flagged(self) -> bool:
        return self.first is not None

    def __str__(self) -> str:
        pieces = [f"[{token}]" if score > self.threshold else token for token, score in self._pairs()]
        return " ".join(pieces)

    def _pairs(self) -> list[tuple[str, float]]:
        return list(zip(self.tokens, self.scores.tolist(), strict=True))

    def _repr_html_(self) -> str:
        """Tokens coloured by score: orange from the threshold up, blue below, paler near it."""
        spread = float(np.abs(self.scores - self.threshold).max()) if len(self.scores) else 0.0

        def piece(token: str, score: float) -> str:
            strength = abs(score - self.threshold) / spread if spread else 0.0
            color = "213,94,0" if score > self.threshold else "0,114,178"
            return (
                f'<span style="background:rgba({color},{0.75 * strength:.2f});padding:1px 3px;margin:1px" '
                f'title="score {score:.3g}, threshold {self.threshold:.3g}">{html.escape(token)}</span>'
            )

        return '<div style="font-family:monospace">' + "".join(piece(*pair) for pair in self._pairs()) + "</div>"


@dataclass(frozen=True)
class Monitor:
    """Flags texts at the tokens that a direction scores above a threshold. Made by `Monitor.calibrate`.

    false_alarms: share of the `controls` control texts that are flagged, with its Wilson interval, low to high.
    """

    direction: Direction
    threshold: float
    fpr: float
    false_alarms: float
    low: float
    high: float
    controls: int

    @classmethod
    def calibrate(
        cls, direction: Direction, control: Activations, *, fpr: float = 0.01, other_model: bool = False
    ) -> "Monitor":
        """Set the threshold on unpooled activations (`pool="none"`) of control texts, which show the behaviour nowhere.

        Raises DataError: pooled activations, an fpr outside 0 to 1, or fewer control texts than 1 / fpr.
        """
        if not 0 < fpr < 1:
            raise DataError(f"fpr={fpr}: a false-positive rate lies between 0 and 1.")
        if len(control) * fpr < 1:
            raise DataError(
                f"{len(control)} control texts cannot set a false-positive rate of {fpr}; give 1/fpr or more."
            )
        highest = _highest(direction, control, other_model)
        allowed = int(np.floor(fpr * len(highest) + 1e-9))
        threshold = float(np.sort(highest)[-(allowed + 1)])
        flagged = int((highest > threshold).sum())
        low, high = wilson(flagged, len(highest))
        return cls(direction, threshold, fpr, flagged / len(highest), low, high, len(highest))

    def read(self, acts: Activations, *, other_model: bool = False) -> pd.DataFrame:
        """One row per text of unpooled activations: its highest score, whether it is flagged, and its label."""
        highest = _highest(self.direction, acts, other_model)
        known = acts.examples.frame[["label", "group"]]
        return known.assign(score=highest, flagged=highest > self.threshold)

    def watch(
        self,
        model: Model,
        examples: Examples | Sequence[Prompt],
        *,
        stop: bool = False,
        on_token: OnToken | None = None,
        max_new_tokens: int | None = None,
        config: Any = None,
        batch_tokens: int = 8192,
        other_model: bool = False,
        **fields: Any,
    ) -> list[Watched]:
        """Continue prompts and score every generated token in the pass that makes it.

        stop: end a text at its first flagged token. on_token: called with the row and the score of each token as it
        comes. Generation options as `Model.generate`.

        Raises what these raise. ModelError: beams, or several samples a prompt.
        """
        self.direction.check_model(model, other_model=other_model)
        settings = settings_for(model, config, max_new_tokens, fields)
        if (settings.num_beams or 1) > 1 or (settings.num_return_sequences or 1) > 1:
            raise ModelError("One text a prompt can be watched: give neither num_beams nor num_return_sequences.")
        limit = settings.max_new_tokens
        prompts = examples.prompts if isinstance(examples, Examples) else list(examples)
        found: dict[int, Watched] = {}
        for batch in prompt_batches(model, prompts, settings, batch_tokens):
            stream = _Stream(self, batch, limit, on_token)
            handle = model.attach(self.direction.site, stream.hook)
            try:
                # One more than wanted, so that the last one is fed and scored.
                settings.max_new_tokens = limit + 1
                made = run(model, batch, settings, stopping=[stream.ended] if stop else None)
            finally:
                handle.remove()
            for at, number in enumerate(batch.rows.tolist()):
                found[number] = self._watched(model, made[at], stream.of(at), limit, stop)
        return [found[number] for number in range(len(prompts))]

    def _watched(self, model: Model, made: Generation, scores: list[float], limit: int, stop: bool) -> Watched:
        ids = made.ids[:limit]
        first = next((place for place, score in enumerate(scores[: len(ids)]) if score > self.threshold), None)
        if stop and first is not None:
            ids = ids[: first + 1]
        tokens = tuple(model.tokenizer.convert_ids_to_tokens(ids))
        text = model.tokenizer.decode(ids, skip_special_tokens=True)
        return Watched(text, tokens, np.array(scores[: len(ids)]), self.threshold, stop and first is not None)


def _highest(direction: Direction, acts: Activations, other_model: bool) -> Float[np.ndarray, " n"]:
    if acts.mask is None:
        raise DataError("A monitor reads every token: collect with pool='none'.")
    scores = direction.score_activations(acts, other_model=other_model).double()
    return scores.masked_fill(~acts.mask, -torch.inf).amax(dim=1).numpy()


class _Stream:
    """Scores each generated token when it is fed back."""

    def __init__(self, monitor: Monitor, batch: Batch, limit: int, on_token: OnToken | None) -> None:
        self.monitor, self.limit, self.on_token = monitor, limit, on_token
        self.numbers = batch.rows.tolist()
        self.scores: list[list[float]] = []
        self.over = torch.zeros(len(self.numbers), dtype=torch.bool)
        self.prefilled = False

    def hook(self, h: Tensor) -> None:
        if not self.prefilled:
            self.prefilled = True
            return
        if h.shape[1] != 1:
            raise ModelError("Assisted or chunked generation feeds several tokens at once and cannot be watched.")
        step = self.monitor.direction.score(h[:, 0]).cpu().tolist()
        if self.on_token is not None and len(self.scores) < self.limit:
            for number, score, over in zip(self.numbers, step, self.over.tolist(), strict=True):
                if not over:
                    self.on_token(number, score)
        self.scores.append(step)

    def ended(self, ids: Tensor, logits: Any, **more: Any) -> Bool[Tensor, " batch"]:
        if self.scores:
            self.over |= torch.tensor(self.scores[-1]) > self.monitor.threshold
        return self.over.to(ids.device)

    def of(self, row: int) -> list[float]:
        return [step[row] for step in self.scores]
