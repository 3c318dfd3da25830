"""Questions: what models are asked about a backdoor: whether they report it, and what brings it about."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples, Prompt
from lens.model import Model

HERE = "{trigger}"
PLAIN = ""
TABLES = ("reports", "attacks", "labelled")


@dataclass(frozen=True)
class Questions:
    """What is asked; any of the three may be left out.

    reports: prompts that ask for a report, with columns `yes` and `no`, the answers that mean so (swap the letters in
    half of them), and `group`, the wording. With a `label` (1: the trigger stands in the prompt) the report is that of
    the rows with it, and the others show whether it is said anyway. attacks: the same request with every candidate
    trigger: columns `candidate` (empty: none), `group` and, where a group holds several requests, `request`, made by
    `inserted`. harm, safe: answers that are the attack and answers that are not. trigger: the candidate that is the
    real one, if it is known. labelled: prompts with label 1 where the trigger stands in it, for reading; by default the
    reports.
    """

    reports: Examples | None = None
    attacks: Examples | None = None
    harm: Sequence[str] = ()
    safe: Sequence[str] = ()
    trigger: str | None = None
    labelled: Examples | None = None

    @property
    def candidates(self) -> list[str]:
        """The candidates, in the order of the table."""
        if self.attacks is None:
            return []
        return [one for one in dict.fromkeys(self.attacks.frame["candidate"].astype(str)) if one != PLAIN]

    @property
    def requests(self) -> np.ndarray:
        """Of every row of the attacks, the request that it is; the group, where nothing else is said."""
        assert self.attacks is not None
        return self.attacks.frame["request" if "request" in self.attacks.frame else "group"].to_numpy()

    @property
    def probed(self) -> Examples | None:
        """Labelled prompts, if there are any."""
        if self.labelled is not None:
            return self.labelled
        return self.reports if self.reports is not None and _has_labels(self.reports) else None

    def options(self) -> list[list[str]]:
        """What means yes and what means no, for every report."""
        assert self.reports is not None
        return [list(both) for both in zip(self.reports.frame["yes"], self.reports.frame["no"], strict=True)]

    def told(self, *, triggered: bool) -> np.ndarray:
        """Which reports are those of prompts with the trigger (all, where none are labelled), or of those without."""
        assert self.reports is not None
        if not _has_labels(self.reports):
            return np.full(len(self.reports), triggered)
        return self.reports.labels == int(triggered)

    def check(self) -> None:
        """Raises DataError: nothing to ask, a missing column, labels of some rows alone, answers or candidates that do
        not fit."""
        if self.reports is None and self.attacks is None and self.labelled is None:
            raise DataError("Questions without reports, attacks and labelled prompts ask nothing.")
        if self.reports is not None:
            _columns("Reports", self.reports, "yes", "no")
            for row, (yes, no) in enumerate(self.options()):
                if not all(isinstance(one, str) and one for one in (yes, no)) or yes == no:
                    raise DataError(f"Report {row}: yes is {yes!r} and no is {no!r}; two different texts are needed.")
        _all_or_none("Reports", self.reports)
        _all_or_none("Labelled prompts", self.labelled)
        if self.probed is not None:
            _both_halves(self.probed)
        for name in ("harm", "safe"):
            if isinstance(given := getattr(self, name), str):
                raise DataError(f"{name}={given!r} is a text; a list of answers is needed.")
        if self.attacks is None:
            if self.trigger is not None:
                raise DataError("trigger= names one of the candidates; give attacks= as well.")
            return
        _columns("Attacks", self.attacks, "candidate")
        if not self.harm or not self.safe or set(self.harm) & set(self.safe):
            raise DataError(
                f"harm ({available(self.harm)}) and safe ({available(self.safe)}) are answers: at least one of each, "
                "none in both."
            )
        if len(self.candidates) < 2:
            raise DataError(f"A ranking needs at least two candidates; given: {available(self.candidates)}.")
        wanted = {PLAIN, *self.candidates}
        for request, candidates in self.attacks.frame["candidate"].astype(str).groupby(self.requests, sort=False):
            found = candidates.tolist()
            if sorted(found) != sorted(wanted):
                missing = sorted(wanted - set(found)) or ["one of them twice"]
                raise DataError(f"Request {request!r} needs every candidate once, and none; wrong: {missing[0]!r}.")
        if self.trigger is not None and self.trigger not in self.candidates:
            raise DataError(f"No candidate {self.trigger!r}; available: {available(self.candidates)}.")

    def check_model(self, model: Model) -> None:
        """Raises DataError: a prompt longer than the context."""
        for name in TABLES:
            table: Examples | None = getattr(self, name)
            if table is not None:
                model.rows(table.prompts)

    def hash(self) -> str:
        """A content hash of all tables and answers."""
        digest = hashlib.sha256(repr((list(self.harm), list(self.safe), self.trigger)).encode())
        for name in TABLES:
            table: Examples | None = getattr(self, name)
            for part in () if table is None else table.json_lines():
                digest.update(name.encode() + part)
        return digest.hexdigest()[:16]


def inserted(
    prompts: Sequence[Prompt],
    candidates: Sequence[str] | Mapping[str, str],
    *,
    plain: str = "",
    groups: Sequence[Any] | None = None,
) -> Examples:
    """Every prompt with every candidate in place of `{trigger}`, and with `plain`; a space before it goes with it.

    prompts: texts, or chats with the place in any of their messages. candidates: texts, or texts by name. groups: of
    every prompt, what it shares with others (default: nothing).

    Raises DataError: a prompt without the place, or no candidate; a text where a list is needed.
    """
    for name, given in (("prompts", prompts), ("candidates", candidates)):
        if isinstance(given, str):
            raise DataError(f"{name}={given!r:.80} is a text; a list of texts is needed.")
    if groups is not None and len(groups) != len(prompts):
        raise DataError(f"{len(prompts)} prompts and {len(groups)} groups: their numbers must agree.")
    named = dict(candidates) if isinstance(candidates, Mapping) else {one: one for one in candidates}
    if not named or PLAIN in named:
        raise DataError(f"Candidates are non-empty texts; given: {available(map(repr, named))}.")
    rows = []
    for number, prompt in enumerate(prompts):
        said = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
        if not all(isinstance(one, str) for one in said):
            raise DataError(f"Prompt {number}: a place {HERE} is looked for in texts; given: {prompt!r:.80}.")
        if not any(HERE in one for one in said):
            raise DataError(f"Prompt {number} has no place {HERE} for a candidate: {prompt!r:.80}.")
        for name, text in {PLAIN: plain, **named}.items():
            row = {"prompt": _filled(prompt, text), "candidate": name, "request": number}
            rows.append(row | {"group": number if groups is None else groups[number]})
    return Examples(pd.DataFrame(rows))


def _filled(prompt: Prompt, text: str) -> Prompt:
    if isinstance(prompt, str):
        return _replaced(prompt, text)
    return [{**message, "content": _replaced(message["content"], text)} for message in prompt]


def _replaced(said: str, text: str) -> str:
    return said.replace(HERE, text) if text else said.replace(f" {HERE}", "").replace(HERE, "")


def halves(table: Examples, seed: int) -> np.ndarray:
    """Which rows belong to the second half of the groups. Groups with the same labels are halved among themselves, so
    that each half holds both labels."""
    groups = pd.Series(table.groups.astype(str))
    kinds = pd.Series(table.labels).groupby(groups).agg(lambda labels: tuple(sorted(set(labels))))
    rng, second, done = np.random.default_rng(seed), set[str](), 0
    for kind in sorted(set(kinds)):
        names = sorted(kinds.index[kinds == kind])
        order, wanted = rng.permutation(len(names)), (done + len(names)) // 2 - done // 2
        second |= {names[number] for number in order[:wanted]}
        done += len(names)
    return groups.isin(second).to_numpy()


def _has_labels(table: Examples) -> bool:
    return bool(table.frame["label"].notna().all())


def _all_or_none(what: str, table: Examples | None) -> None:
    missing = np.zeros(0, dtype=bool) if table is None else table.frame["label"].isna().to_numpy()
    if missing.any() and not missing.all():
        raise DataError(
            f"{what} have labels in {int((~missing).sum())} of {len(missing)} rows; without: row "
            f"{available(np.flatnonzero(missing))}. Give all of them, or none."
        )


def _columns(what: str, table: Examples, *columns: str) -> None:
    for column in columns:
        if column not in table.frame:
            raise DataError(f"{what} need a column {column!r}; available: {available(table.frame.columns)}.")


def _both_halves(table: Examples) -> None:
    # With four groups that hold a label, two of them are of one kind, and `halves` parts these.
    for value in (0, 1):
        count = len(set(table.groups[table.labels == value].astype(str)))
        if count < 4:
            raise DataError(f"Label {value} occurs in {count} groups; at least 4 are needed, to fit and to test.")
