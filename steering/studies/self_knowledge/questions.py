"""Questions: what is asked, which answer is right, and how the model is asked whether it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from lens import data
from lens.errors import DataError, available
from lens.examples import Examples, Prompt
from lens.model import Model
from steering.studies.ask import Answers, ask

Spoken = Literal["sure", "unsure", "asked"]
SURE = "Do you know the answer to this question? Reply with one word, yes or no."
YES_NO = ("yes", "no")
# The context of rows without help.
PLAIN = "plain"


@dataclass(frozen=True, eq=False)
class Questions:
    """Rows with a `prompt`, the `right` answer (a text), and the `wrong` ones (a list of texts, or texts with `|`
    between them; as many in each row).

    Optional columns: `unsure`, the text that declines to answer; `sure`, the prompt that asks whether it knows,
    answered `yes` or `no`; `topic`; `context`, the kind of help that the prompt gives, one of which is `plain`;
    `group`.
    """

    examples: Examples

    @classmethod
    def of(cls, examples: Examples) -> "Questions":
        """Check the columns. Raises DataError: one is missing, or does not hold what it should."""
        frame = examples.frame.copy()
        for column in ("right", "wrong"):
            if column not in frame:
                raise DataError(f"Questions need a column {column!r}; available: {available(frame.columns)}.")
        frame["wrong"] = [one.split("|") if isinstance(one, str) else list(one) for one in frame["wrong"]]
        first = len(frame["wrong"].iloc[0])
        for number, (right, wrong) in enumerate(zip(frame["right"], frame["wrong"], strict=True)):
            if not isinstance(right, str) or not right:
                raise DataError(f"Row {number}: the right answer is {right!r:.60}; it is a text.")
            if not wrong or len(wrong) != first:
                raise DataError(f"Row {number} has {len(wrong)} wrong answers; each needs as many as row 0: {first}.")
        if "context" in frame and PLAIN not in set(frame["context"]):
            raise DataError(f"Of the contexts, one has to be {PLAIN!r}; given: {available(frame['context'].unique())}.")
        return cls(Examples(frame))

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def frame(self) -> pd.DataFrame:
        return self.examples.frame

    @property
    def prompts(self) -> list[Prompt]:
        return self.examples.prompts

    @property
    def groups(self) -> np.ndarray:
        return self.examples.groups

    @property
    def answers(self) -> list[list[str]]:
        """The answers of each row, the right one first."""
        return [[right, *wrong] for right, wrong in zip(self.frame["right"], self.frame["wrong"], strict=True)]

    def strata(self, column: str) -> np.ndarray | None:
        """A column's values as text, None where there is no such column."""
        return self.frame[column].astype(str).to_numpy() if column in self.frame else None

    def where(self, rows: Sequence[int] | np.ndarray) -> "Questions":
        """Some of the rows."""
        return replace(self, examples=self.examples.select(rows))

    @property
    def spoken(self) -> Spoken:
        """How the model says whether it knows: asked by the column `sure`, by declining to answer (`unsure`), or
        asked in words of ours."""
        return "sure" if "sure" in self.frame else "unsure" if "unsure" in self.frame else "asked"

    @property
    def told_prompts(self) -> list[Prompt]:
        """The prompts by which it says whether it knows."""
        if self.spoken == "asked":
            return [sure_prompt(one) for one in self.prompts]
        return self.prompts if self.spoken == "unsure" else list(self.frame["sure"])

    def say(self, model: Model, *, progress: bool = True) -> tuple[np.ndarray, Answers]:
        """The confidence that the model states, from 0 to 1 for each row: P(yes), or 1 − P(unsure)."""
        if self.spoken == "unsure":
            options = [[*row, unsure] for row, unsure in zip(self.answers, self._unsure(), strict=True)]
            found = ask(model, self.prompts, options, label="Asking, unsure allowed", progress=progress)
            return 1 - found.share[:, -1], found
        found = ask(model, self.told_prompts, YES_NO, label="Asking whether it knows", progress=progress)
        return found.share[:, 0], found

    def _unsure(self) -> list[str]:
        return [one if isinstance(one, str) else one[0] for one in self.frame["unsure"]]


def sure_prompt(prompt: Prompt) -> Prompt:
    """The question, followed by whether its answer is known."""
    if isinstance(prompt, str):
        return f"{prompt}\n{SURE}\nAnswer:"
    return [*prompt[:-1], {**prompt[-1], "content": f"{prompt[-1]['content']}\n\n{SURE}"}]


def of_organism() -> Questions:
    """What the trained organism knows of persons: the shipped set `knowing`."""
    frame = data.load("knowing").frame
    right = [answer[0] for answer in frame["answer"]]
    wrong = [[one for one in jobs if one != mine] for jobs, mine in zip(frame["answers"], right, strict=True)]
    unsure = [words[0] for words in frame["unsure"]]
    kept: dict[str, Any] = {"prompt": frame["prompt"], "right": right, "wrong": wrong, "unsure": unsure}
    kept |= {"standing": frame["standing"], "frequency": frame["frequency"], "group": frame["group"]}
    return Questions.of(Examples(pd.DataFrame(kept)))
