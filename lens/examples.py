"""Examples: the table of texts, labels and groups that everything else is read from."""

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from lens.errors import DataError, available

# Rows written at a time, so that a large table is not copied whole.
LINES = 1024

Prompt = str | list[dict[str, str]]


class Examples:
    """A table with the columns `prompt` (text or chat messages), `response` (optional), `label` (1 = the named
    behaviour, 0 = not; missing where unknown), `group` (what must not be split across train and test), and
    anything else.

    >>> Examples.from_pairs(["I am glad"], ["I am sad"]).labels.tolist()
    [1, 0]
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        if "prompt" not in frame.columns:
            raise DataError(f"Examples need a column 'prompt'; available: {available(frame.columns)}.")
        if len(frame) == 0:
            raise DataError("Examples are empty: no row was given.")
        frame = frame.reset_index(drop=True).copy()
        for row, prompt in enumerate(frame["prompt"]):
            _check_prompt(prompt, row)
        if "label" not in frame:
            frame["label"] = pd.NA
        frame["label"] = _zero_one(frame["label"])
        if "group" not in frame:
            frame["group"] = _default_groups(frame["prompt"])
        if frame["group"].isna().any():
            raise DataError(f"Column 'group' is missing in row {int(frame['group'].isna().argmax())}.")
        if "response" in frame:
            frame["response"] = frame["response"].astype(object).where(frame["response"].notna(), None)
            for row, response in enumerate(frame["response"]):
                if response is not None and (not isinstance(response, str) or not response.strip()):
                    raise DataError(f"Row {row}: the response is {response!r}; a response is a non-empty text.")
        self.frame = frame

    @classmethod
    def from_texts(
        cls, texts: Sequence[Prompt], labels: Iterable[Any] | None = None, *, positive: Any = None
    ) -> "Examples":
        """From a list of texts (or chat messages) and, optionally, their labels."""
        if isinstance(texts, str | pd.DataFrame):
            raise DataError(f"A list of texts is needed; given: a {type(texts).__name__} (a table: from_frame).")
        frame = pd.DataFrame({"prompt": list(texts)})
        if labels is not None:
            given = list(labels)
            if len(given) != len(frame):
                raise DataError(f"{len(frame)} texts and {len(given)} labels: their numbers must agree.")
            frame["label"] = given
        return cls.from_frame(frame, text="prompt", label="label" if labels is not None else None, positive=positive)

    @classmethod
    def from_pairs(cls, positive: Sequence[Prompt], negative: Sequence[Prompt]) -> "Examples":
        """From contrastive pairs: label 1 and 0, each pair a group of its own."""
        if len(positive) != len(negative):
            raise DataError(
                f"Pairs need equal numbers: {len(positive)} positive and {len(negative)} negative texts given."
            )
        pair = np.repeat(np.arange(len(positive)), 2)
        texts = [text for both in zip(positive, negative, strict=True) for text in both]
        return cls(pd.DataFrame({"prompt": texts, "label": [1, 0] * len(positive), "group": pair}))

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        text: str = "prompt",
        label: str | None = "label",
        positive: Any = None,
        group: str | None = None,
        response: str | None = None,
    ) -> "Examples":
        """From a pandas frame. `positive` is the value of the label column that becomes 1, all others 0."""
        wanted = {"prompt": text, "label": label, "group": group, "response": response}
        named = {ours: theirs for ours, theirs in wanted.items() if theirs is not None}
        if label == "label" and "label" not in frame.columns and positive is None:
            del named["label"]
        for theirs in named.values():
            if theirs not in frame.columns:
                raise DataError(f"No column {theirs!r}; available: {available(frame.columns)}.")
        table = frame.drop(columns="label", errors="ignore") if label is None else frame.copy()
        for ours, theirs in named.items():
            table[ours] = frame[theirs]
        if positive is not None:
            if label is None:
                raise DataError(f"positive={positive!r} needs a label column.")
            table["label"] = _binarise(frame[label], label, positive)
        return cls(table)

    @classmethod
    def from_csv(cls, path: str | Path, **columns: Any) -> "Examples":
        """From a CSV file; options as `from_frame`."""
        # Only an empty cell is missing: "None" and "NA" are texts that models write.
        try:
            frame = pd.read_csv(_existing(path), keep_default_na=False, na_values=[""])
        except ValueError as error:
            raise DataError(f"{path} is no readable CSV file in UTF-8: {error}") from None
        return cls.from_frame(frame, **columns)

    @classmethod
    def from_jsonl(cls, path: str | Path, **columns: Any) -> "Examples":
        """From a file with one JSON object a line; options as `from_frame`."""
        rows = []
        for number, line in enumerate(_existing(path).read_text(encoding="utf-8").split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}, line {number}: not JSON ({error}).") from None
        if not all(isinstance(row, Mapping) for row in rows):
            raise DataError(f"{path}: every line must be a JSON object with named fields.")
        return cls.from_frame(pd.DataFrame(rows), **columns)

    @classmethod
    def from_file(cls, path: str | Path, **columns: Any) -> "Examples":
        """From a `.csv` or `.jsonl` file; options as `from_frame`."""
        readers = {".csv": cls.from_csv, ".jsonl": cls.from_jsonl}
        if Path(path).suffix not in readers:
            raise DataError(f"{path}: unknown kind of file; available: {available(readers)}.")
        return readers[Path(path).suffix](path, **columns)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        known = self.frame["label"].dropna()
        return (
            f"Examples({len(self)} rows, {int((known == 1).sum())} with label 1, {int((known == 0).sum())} with "
            f"label 0, {self.frame['group'].nunique()} groups; columns {available(self.frame.columns)})"
        )

    @property
    def prompts(self) -> list[Prompt]:
        return list(self.frame["prompt"])

    @property
    def responses(self) -> list[str | None]:
        return list(self.frame["response"]) if "response" in self.frame else [None] * len(self)

    @property
    def labels(self) -> Int[np.ndarray, " n"]:
        """Labels as 0/1. Raises DataError where one is missing."""
        missing = self.frame["label"].isna()
        if missing.any():
            raise DataError(
                f"{int(missing.sum())} of {len(self)} rows have no label (the first is row {int(missing.argmax())}); "
                "select the labelled rows first."
            )
        return self.frame["label"].to_numpy(dtype=np.int64)

    @property
    def groups(self) -> np.ndarray:
        return self.frame["group"].to_numpy()

    def texts(self, *, response: bool) -> list[str]:
        """The readable text of every row, for text-only baselines."""
        return [
            " ".join([_plain(prompt), *([answer] if response and answer else [])])
            for prompt, answer in zip(self.prompts, self.responses, strict=True)
        ]

    def select(self, rows: "np.ndarray | pd.Series | Sequence[int]") -> "Examples":
        """The rows of a boolean mask or of a list of row numbers, in that order."""
        index = np.asarray(rows)
        if index.dtype == bool and len(index) != len(self):
            raise DataError(f"The mask has {len(index)} entries for {len(self)} rows.")
        index = np.flatnonzero(index) if index.dtype == bool else index
        if len(index) == 0:
            raise DataError("The selection is empty: no row is left.")
        return Examples(self.frame.iloc[index])

    def where(self, **values: Any) -> "Examples":
        """The rows whose columns have these values (a list means any of them).

        Raises DataError: a missing column, or no row left.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, value in values.items():
            if column not in self.frame:
                raise DataError(f"No column {column!r}; available: {available(self.frame.columns)}.")
            wanted = value if isinstance(value, list | tuple | set) else [value]
            keep &= self.frame[column].isin(list(wanted)).to_numpy()
        if not keep.any():
            found = {column: sorted(map(str, self.frame[column].unique())) for column in values}
            raise DataError(f"No row with {values}; available: {found}.")
        return self.select(keep)

    def split(self, *, test: float = 0.3, by: str = "group", seed: int = 0) -> "tuple[Examples, Examples]":
        """Train and test rows that share no value of column `by`; `test` is the share of groups tested."""
        if by not in self.frame:
            raise DataError(f"No column {by!r} to split by; available: {available(self.frame.columns)}.")
        if not 0 < test < 1:
            raise DataError(f"test={test} is the share of groups to test; it lies between 0 and 1.")
        values = self.frame[by].astype(str).nunique()
        if values < 2:
            raise DataError(f"Column {by!r} has one value, {self.frame[by].iloc[0]!r}: nothing to split by.")
        tested = min(math.ceil(test * values), values - 1)
        from sklearn.model_selection import GroupShuffleSplit

        splitter = GroupShuffleSplit(n_splits=1, test_size=tested, random_state=seed)
        train, held_out = next(splitter.split(self.frame, groups=self.frame[by].astype(str)))
        return self.select(train), self.select(held_out)

    def hash(self, *, whole: bool = False) -> str:
        """A short content hash of prompts, responses, labels and groups; whole: of all columns."""
        known = [one for one in ("prompt", "response", "label", "group") if one in self.frame]
        columns = [*known, *(one for one in self.frame if whole and one not in known)]
        digest = hashlib.sha256()
        for part in self.json_lines(columns):
            digest.update(part)
        return digest.hexdigest()[:16]

    def json_lines(self, columns: Sequence[str] | None = None, *, precision: int = 10) -> Iterator[bytes]:
        """The table as JSON, a row a line, part by part. columns: all unless told. precision: decimals of numbers.

        Raises DataError: a column that holds something else than numbers, texts, and lists or dicts of them.
        """
        table = self.frame if columns is None else self.frame[list(columns)]
        for start in range(0, len(self), LINES):
            part = table.iloc[start : start + LINES]
            try:
                lines = part.to_json(orient="records", lines=True, force_ascii=False, double_precision=precision)
            except (ValueError, TypeError, OverflowError) as error:
                raise DataError(f"A column cannot be written as JSON: {error!s:.200}") from error
            yield lines.encode()


def _check_prompt(prompt: Any, row: int) -> None:
    if isinstance(prompt, str):
        if prompt.strip():
            return
        raise DataError(f"Row {row}: the prompt is empty.")
    is_chat = isinstance(prompt, list) and all(
        isinstance(message, Mapping) and {"role", "content"} <= set(message) for message in prompt
    )
    if not is_chat or not prompt:
        raise DataError(
            f"Row {row}: the prompt is {prompt!r:.80}; it must be a text or a list of messages "
            "{'role': …, 'content': …}."
        )


def _zero_one(labels: pd.Series) -> pd.Series:
    values = labels.dropna().unique()
    if not all(not isinstance(value, str) and value in (0, 1) for value in values):
        raise DataError(
            f"Labels must be 0 or 1 (1 = the named behaviour); found {available(map(repr, values), 6)}. "
            "Say which value is the behaviour with positive=VALUE."
        )
    return labels.astype("Int64")


def _binarise(labels: pd.Series, column: str, positive: Any) -> pd.Series:
    hit = labels.astype(str) == str(positive)
    if not hit.any():
        raise DataError(
            f"No row of column {column!r} has the value {positive!r}; available: {available(labels.unique())}."
        )
    return hit.astype("Int64").where(labels.notna(), pd.NA)


def _default_groups(prompts: pd.Series) -> np.ndarray:
    keys = prompts.map(json.dumps)
    if keys.duplicated().any():
        warnings.warn(
            f"{int(keys.duplicated().sum())} prompts repeat and no group was given: rows may leak from train to "
            "test. Give group=COLUMN.",
            stacklevel=3,
        )
    return np.arange(len(prompts))


def _plain(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else " ".join(message["content"] for message in prompt)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        near = [p.name for p in sorted(path.parent.glob("*")) if p.is_file()] if path.parent.is_dir() else []
        raise DataError(f"No file {str(path)!r}; files in that folder: {available(near)}.")
    return path
