"""What every measure shares: it is told what a model did on some rows, and gives one number per row; missing is nan."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import DataError, available
from lens.examples import Prompt
from lens.generation import Generation
from lens.model import Model
from lens.tokens import Batch, Row, Rows, batches
from steering.apply import apply
from steering.interventions import Intervention

TableRow = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What the model did on some rows: `rows` are the table's rows, as dictionaries.

    logits: of the token after each prompt. texts: what was generated. A measure that runs the model itself finds it
    unsteered here, and steered inside `with outcome.steered():`; tokens are what it is to run.
    """

    model: Model
    rows: Sequence[TableRow]
    logits: Float[Tensor, "n vocab"] | None = None
    texts: Sequence[Generation] | None = None
    tokens: Rows | None = None
    interventions: Sequence[Intervention] = ()
    other_model: bool = False
    batch_tokens: int = 8192

    @property
    def prompts(self) -> list[Prompt]:
        return [row["prompt"] for row in self.rows]

    def steered(self) -> AbstractContextManager[None]:
        """The interventions that are being measured, for the length of a `with` block."""
        return apply(self.model, *self.interventions, other_model=self.other_model)

    def batches(self, rows: Sequence[Row] | None = None) -> Iterator[Batch]:
        """Left-padded batches, on the model's device, of `tokens` or of other rows."""
        chosen = self.tokens if rows is None else rows
        if chosen is None:
            raise DataError("This measure runs the model itself and needs the tokens to run.")
        for batch in batches(chosen, tokens=self.batch_tokens, pad_id=self.model.pad_id, padding_side="left"):
            yield batch.to(self.model.device)


@dataclass(frozen=True)
class Measure:
    """One number per row.

    needs: `logits` of the token after the prompt, or generated `text`, of the steered model; or the `model`, to run it
    itself. coherence, where the measure can tell it itself: how far the model still answers the question at all, a
    share per row. variants: for `logits`, the rows (each with its own `prompt`) that are asked in place of one; its
    value is the mean of theirs. response: for `model`, the column whose text follows the prompt. given: what it was
    made with, which tells measures of one name apart.
    """

    name: str
    needs: Literal["logits", "text", "model"]
    value: Callable[[Outcome], Float[np.ndarray, " n"]]
    coherence: Callable[[Outcome], Float[np.ndarray, " n"]] | None = None
    max_new_tokens: int = field(default=32)
    variants: Callable[[TableRow], list[TableRow]] | None = None
    response: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def described(self) -> dict[str, Any]:
        """What the settings of a run say of it. Of functions only their names."""
        plain = {
            name: getattr(value, "__qualname__", type(value).__name__) if callable(value) else value
            for name, value in self.given.items()
        }
        return {"name": self.name, "max_new_tokens": self.max_new_tokens, "response": self.response, **plain}

    def __call__(self, outcome: Outcome) -> Float[np.ndarray, " n"]:
        return self.value(outcome)

    def asked(self, rows: Sequence[TableRow]) -> tuple[list[TableRow], Int[np.ndarray, " variants"]]:
        """The rows that are run, and which of the given rows each is a variant of."""
        each = [[row] if self.variants is None else self.variants(row) for row in rows]
        return [one for many in each for one in many], np.repeat(np.arange(len(rows)), [len(many) for many in each])

    def tokens(self, model: Model, rows: Sequence[TableRow]) -> Rows:
        """What is run of these rows. Raises DataError: no such column, or something else than texts in it."""
        prompts = [row["prompt"] for row in rows]
        return model.rows(prompts, None if self.response is None else responses(rows, self.response))


def over_variants(values: Float[np.ndarray, " variants"], owner: Int[np.ndarray, " variants"]) -> np.ndarray:
    """The mean of each row's variants, nan where one is missing."""
    return np.bincount(owner, weights=values) / np.bincount(owner)


def responses(rows: Sequence[TableRow], column: str) -> list[str | None]:
    """The texts of a column, None where one is missing. Raises DataError: no such column, or no texts."""
    out: list[str | None] = []
    for number, row in enumerate(rows):
        if column not in row:
            raise DataError(f"No column {column!r}; available: {available(row)}.")
        text = row[column]
        missing = text is None or (isinstance(text, float) and math.isnan(text))
        if not missing and not isinstance(text, str):
            raise DataError(f"Row {number}: column {column!r} holds {text!r:.60}; a response is a text.")
        out.append(None if missing else text)
    return out


def filled(texts: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    """Texts with each `"{column}"` replaced by that column's text, or texts, in this row."""
    out: list[str] = []
    for given in texts:
        if given.startswith("{") and given.endswith("}"):
            column = given[1:-1]
            if column not in row:
                raise DataError(f"Option {given!r}: no column {column!r}; available: {available(row)}.")
            value = row[column]
            out += value if isinstance(value, list) else [value]
        else:
            out.append(given)
    return out
