"""Directions at many strengths at once: what every prompt shares is run once, and each row carries its own strength."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.examples import Examples
from lens.model import Model
from lens.progress import bar
from lens.spans import Span
from lens.tokens import Batch, Rows, batches, span_bounds
from probes.direction import Direction
from steering.apply import apply
from steering.divergence import divergence
from steering.effects import effects
from steering.interventions import Add, Unit
from steering.measures import Measure, Outcome, over_variants
from steering.prefix import Prefix, prefixes

# So many logits at once at the most: 128 MiB in float32.
LOGITS = 2**25

Table = dict[float, pd.DataFrame]


@dataclass(frozen=True)
class Doses:
    """How directions are added, and to what: `strengths` ascend and hold 0. Calling it with directions gives, for
    each, a table per strength with the columns `value`, `coherence` and `kl`, rows as in `examples`."""

    model: Model
    examples: Examples
    measure: Measure
    strengths: Sequence[float]
    unit: Unit
    span: str
    batch_tokens: int = 8192
    other_model: bool = False
    progress: bool = True

    def __call__(self, directions: Sequence[Direction]) -> list[Table]:
        for direction in directions:
            Add(direction, 0.0, span=self.span, unit=self.unit).check_model(self.model, other_model=self.other_model)
        if self.measure.needs == "logits":
            return self._from_logits(directions)
        return [self._from_texts(direction) for direction in directions]

    def _from_logits(self, directions: Sequence[Direction]) -> list[Table]:
        rows, owner = self.measure.asked(self.examples.frame.to_dict("records"))
        encoded = self.measure.tokens(self.model, rows)
        first, _ = span_bounds(encoded, Span.parse(self.span))
        shape = (len(directions), len(self.strengths), len(rows))
        found = {name: np.full(shape, np.nan) for name in ("value", "coherence", "kl")}
        total = len(rows) * len(directions)
        with bar(f"Measuring {self.measure.name}", total=total, shown=self.progress) as advance:
            for prefix in prefixes(self.model, self._plan(encoded, first)):
                chosen = prefix.batch.rows.cpu().numpy()
                here = [rows[number] for number in chosen]
                for number, direction in enumerate(directions):
                    for dose, logits, kl in self._logits(prefix, direction):
                        outcome = Outcome(self.model, here, logits=logits)
                        found["value"][number, dose, chosen] = self.measure(outcome)
                        found["kl"][number, dose, chosen] = kl.cpu().numpy()
                        if self.measure.coherence is not None:
                            found["coherence"][number, dose, chosen] = self.measure.coherence(outcome)
                    advance(len(chosen))
        return [
            {
                strength: pd.DataFrame(
                    {name: over_variants(values[number, dose], owner) for name, values in found.items()}
                )
                for dose, strength in enumerate(self.strengths)
            }
            for number in range(len(directions))
        ]

    def _plan(self, encoded: Rows, first: Int[Tensor, " n"]) -> Iterator[tuple[Batch, int]]:
        """Batches, and how many of their columns come before anything that is steered."""
        tokens = max(1, self.batch_tokens // len(self.strengths))
        for batch in batches(encoded, tokens=tokens, pad_id=self.model.pad_id, padding_side="left"):
            width = batch.ids.shape[1]
            columns = int((width - batch.length + first[batch.rows]).min())
            yield batch.to(self.model.device), min(columns, width - 1)

    def _logits(
        self, prefix: Prefix, direction: Direction
    ) -> Iterator[tuple[int, Float[Tensor, "batch vocab"], Float[Tensor, " batch"]]]:
        """Of each strength: its place, the logits, and their divergence from those at strength 0."""
        count, vocab = len(prefix.batch.rows), self.model.hf.config.get_text_config().vocab_size
        each = max(1, LOGITS // (count * vocab))
        zero = list(self.strengths).index(0.0)
        order = [zero, *(dose for dose in range(len(self.strengths)) if dose != zero)]
        plain: Tensor | None = None
        for start in range(0, len(order), each):
            doses = order[start : start + each]
            strength = torch.tensor([self.strengths[dose] for dose in doses]).repeat(count)
            change = Add(direction, strength, span=self.span, unit=self.unit)
            with apply(self.model, change, other_model=self.other_model):
                logits = prefix.logits(len(doses)).unflatten(0, (count, len(doses)))
            plain = logits[:, 0] if plain is None else plain
            for place, dose in enumerate(doses):
                yield dose, logits[:, place], divergence(logits[:, place], plain)

    def _from_texts(self, direction: Direction) -> Table:
        n = len(self.examples)
        repeated = self.examples.select(np.tile(np.arange(n), len(self.strengths)))
        strength = torch.tensor(self.strengths).repeat_interleave(n)
        change = Add(direction, strength, span=self.span, unit=self.unit)
        table = effects(
            self.model,
            repeated,
            self.measure,
            change,
            batch_tokens=self.batch_tokens,
            kl=True,
            other_model=self.other_model,
            progress=self.progress,
        )[["value", "coherence", "kl"]]
        parts = (table.iloc[k * n : (k + 1) * n].reset_index(drop=True) for k in range(len(self.strengths)))
        return dict(zip(self.strengths, parts, strict=True))
