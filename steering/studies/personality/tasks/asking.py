"""How tasks ask: probabilities of the answers there are, or replies that are kept and read by a rule or a judge."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError, ModelError, available
from lens.examples import Prompt
from lens.generation import generate
from lens.model import Model
from steering.apply import apply
from steering.interventions import Intervention
from steering.studies.ask import Answers, ask
from steering.studies.imbued import chats, imbued, takes_system
from steering.studies.pieces import Pieces
from steering.studies.result import digest_of, settings_of

Judge = Callable[[list[str], list[dict[str, Any]]], Sequence[Any]]
BATCH = 16


@dataclass(frozen=True)
class Asking:
    """How a task asks, and what it takes for an answer.

    by: "options" reads probabilities of the answers there are, "text" what is generated, greedily. least_mass: by
    options, what has to be left on them for an answer to count. Of text: judge(replies, rows) says what replies mean,
    in place of the task's own strict rule; max_new_tokens: a reply that is cut off there is missing; resume: a folder
    where the replies of every task, under every condition, are kept, so that a judge that fails loses none of them.

    Raises DataError: another `by`, a judge of nothing, a limit below 1, a mass outside 0 to 1.
    """

    by: str = "options"
    judge: Judge | None = None
    max_new_tokens: int = 128
    least_mass: float = 0.1
    resume: str | Path | None = None

    def __post_init__(self) -> None:
        if self.by not in ("options", "text"):
            raise DataError(f"Unknown by={self.by!r}; available: options, text.")
        if self.judge is not None and self.by != "text":
            raise DataError("A judge reads generated replies: give by='text' as well.")
        if self.max_new_tokens < 1 or not 0 <= self.least_mass < 1:
            raise DataError(
                f"max_new_tokens={self.max_new_tokens} (1 or more), least_mass={self.least_mass} (from 0, below 1)."
            )

    def described(self) -> dict[str, Any]:
        """What settings say of it: everything that decides the numbers."""
        judge = None if self.judge is None else getattr(self.judge, "__qualname__", type(self.judge).__qualname__)
        numbers = {"max_new_tokens": self.max_new_tokens, "least_mass": self.least_mass}
        return {"by": self.by, "judge": judge, **numbers}


BY_OPTIONS = Asking()


@dataclass(frozen=True, eq=False)
class Talk:
    """One task with one model, under a system prompt and interventions."""

    task: str
    model: Model
    changes: Sequence[Intervention]
    system: str
    asking: Asking
    progress: bool

    def dialogue(self, *turns: str) -> Prompt:
        """Questions and answers in turn, a question last: chat messages, or plain text for a model without a chat."""
        if chats(self.model):
            roles = ("user", "assistant")
            messages = [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns)]
            return imbued(messages, self.system, system=takes_system(self.model))
        lines = [f"{('Question', 'Answer')[number % 2]}: {turn}" for number, turn in enumerate(turns)]
        return imbued("\n".join([*lines, "Answer:"]), self.system)

    def spoken(self, answers: Sequence[str]) -> list[str]:
        """Answers as they follow a dialogue."""
        return list(answers) if chats(self.model) else [f" {one}" for one in answers]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raises before anything is asked. ModelError: an encoder; DataError: a prompt that is too long."""
        if self.model.is_encoder:
            raise ModelError(f"{self.model.name} is an encoder: it answers nothing.")
        self.model.rows(prompts)

    def ask(self, prompts: Sequence[Prompt], answers: Any, label: str) -> Answers:
        return ask(self.model, prompts, answers, *self.changes, label=label, progress=self.progress)

    def kept(self, **given: Any) -> Pieces:
        """Where replies are kept. given: what decides them beside the model, the interventions and the limit."""
        limit, resume = self.asking.max_new_tokens, self.asking.resume
        changes = [one.identifier for one in self.changes]
        settings = settings_of(self.model, task=self.task, changes=changes, max_new_tokens=limit, **given)
        if resume is None:
            return Pieces(None, settings)
        return Pieces(f"{resume}/{self.task} {digest_of(settings)}", settings)

    def replies(self, pieces: Pieces, name: str, prompts: Sequence[Prompt]) -> list[str | None]:
        """What the model says to each prompt; None where it says nothing or is cut off by the limit."""

        def made() -> pd.DataFrame:
            with apply(self.model, *self.changes):
                said = generate(self.model, prompts, max_new_tokens=self.asking.max_new_tokens)
            return pd.DataFrame({"text": [one.text for one in said], "finished": [one.finished for one in said]})

        table = pieces.table(name, made)
        return [
            str(text) if str(text).strip() and finished else None
            for text, finished in zip(table["text"], table["finished"], strict=True)
        ]

    def understood(
        self,
        said: Sequence[str | None],
        rows: Sequence[dict[str, Any]],
        rule: Callable[[str, dict[str, Any]], float | None],
    ) -> np.ndarray:
        """A number for every reply, by the rule or the judge; nan where there is none.

        A judge is given at most 16 replies with their rows, and gives a number for each, None where it cannot tell.
        Raises DataError naming the rows on which it raised, or gave something else.
        """
        out = np.full(len(said), np.nan)
        there = [number for number, text in enumerate(said) if text is not None]
        if self.asking.judge is None:
            for number in there:
                found = rule(str(said[number]), rows[number])
                out[number] = np.nan if found is None else found
            return out
        for start in range(0, len(there), BATCH):
            part = there[start : start + BATCH]
            out[part] = self._judged(part, [str(said[number]) for number in part], [rows[number] for number in part])
        return out

    def _judged(self, numbers: Sequence[int], texts: list[str], rows: list[dict[str, Any]]) -> list[float]:
        assert self.asking.judge is not None
        names = available(numbers, BATCH)
        try:
            verdicts = list(self.asking.judge(texts, rows))
        except Exception as error:
            raise DataError(
                f"Rows {names}: the judge of {self.task} raised {error!r:.200}; replies are kept."
            ) from error
        if len(verdicts) != len(numbers):
            raise DataError(
                f"Rows {names}: the judge of {self.task} gave {len(verdicts)} verdicts for {len(numbers)} replies."
            )
        for number, verdict in zip(numbers, verdicts, strict=True):
            if verdict is None:
                continue
            if isinstance(verdict, str | bytes) or not isinstance(verdict, int | float | np.number):
                raise DataError(
                    f"Row {number}: the judge of {self.task} gave {verdict!r:.60}; a verdict is a number or None."
                )
            if not math.isfinite(float(verdict)):
                raise DataError(
                    f"Row {number}: the judge of {self.task} gave {verdict!r}; None says that it cannot tell."
                )
        return [np.nan if one is None else float(one) for one in verdicts]
