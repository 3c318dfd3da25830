"""Design: prompts in which context (test or deployment) and format (what the text looks like) are crossed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lens.errors import DataError, available
from lens.examples import Examples
from probes.strata import strata_of
from steering.studies.firsts import Columns, texts_of

ANSWERS: Columns = ("careful", "careless")
SHARES = (0.35, 0.4)
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Design:
    """Rows with prompt, label (1: test, 0: deployment), format and group; perhaps cue, format_cue, and careful and
    careless: what an answer begins with where the model is as careful as in a test, and where it is not."""

    examples: Examples
    answers: bool
    seed: int = 0

    @classmethod
    def of(cls, examples: Examples, *, seed: int = 0) -> "Design":
        """Raises DataError: a missing column or label, one context or one format, and a design in which context and
        format cannot be told apart: an AUROC on it could be that of either."""
        frame = examples.frame
        if "format" not in frame:
            raise DataError(
                f"No column 'format'; available: {available(frame.columns)}. Without it, what is read as a test may be "
                "what a test looks like: say of each row what its text looks like."
            )
        for column in ("format", "cue", "format_cue"):
            if column in frame:
                blank = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
                if blank.any():
                    raise DataError(f"Column {column!r} is missing in row {int(blank.to_numpy().argmax())}.")
        labels = examples.labels
        if len(set(labels)) < 2:
            raise DataError(
                f"All {len(labels)} rows have label {labels[0]}: both test (1) and deployment (0) are needed."
            )
        names = frame["format"].astype(str).unique()
        if len(names) < 2:
            raise DataError(f"All rows have the format {names[0]!r}; at least two are needed, each in both contexts.")
        strata_of(examples, ["format"])
        given = [column for column in ANSWERS if column in frame]
        if len(given) == 1:
            raise DataError(f"Column {given[0]!r} without the other of {ANSWERS}: both sides of an answer are needed.")
        examples = texts_of(examples, ANSWERS) if given else examples
        return cls(examples, bool(given), seed)

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        return self.examples.labels

    @property
    def groups(self) -> np.ndarray:
        return self.examples.groups.astype(str)

    @property
    def form(self) -> np.ndarray:
        return self._column("format")

    @property
    def cue(self) -> np.ndarray:
        """What tells the context in each row; its group, where nothing is said of that."""
        return self._column("cue") if "cue" in self.examples.frame else self.groups

    @property
    def format_cue(self) -> np.ndarray | None:
        return self._column("format_cue") if "format_cue" in self.examples.frame else None

    def _column(self, name: str) -> np.ndarray:
        return self.examples.frame[name].astype(str).to_numpy()

    def formats(self) -> tuple[str, str]:
        """The two formats that most rows have, in order of their names."""
        names, counts = np.unique(self.form, return_counts=True)
        one, other = sorted(names[np.argsort(-counts, kind="stable")[:2]].tolist())
        return one, other

    def parts(self) -> dict[str, np.ndarray]:
        """Row numbers of the training, validation and test parts, which share no group."""
        numbered = Examples(self.examples.frame.assign(__row__=range(len(self.examples))))
        rest, test = numbered.split(test=SHARES[0], seed=self.seed)
        train, validation = rest.split(test=SHARES[1], seed=self.seed)
        found = zip(PARTS, (train, validation, test), strict=True)
        return {name: part.frame["__row__"].to_numpy() for name, part in found}
