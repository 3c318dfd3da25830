"""Debate: what the study is given: who said what, which words show whose voice, and what has to stay as it is."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lens.errors import DataError, available
from lens.examples import Examples
from lens.model import Model
from steering.studies.answered import check_options
from steering.studies.latent_agents.vectors import check_items

TABLES = ("items", "speak", "trait", "answers", "system")
BY = "by"


@dataclass(frozen=True)
class Debate:
    """A debate that a model may have kept inside.

    items: see `agent_vectors`. words: of each agent, the answers that are its own; other: answers that are nobody's.
    speak: prompts after which any of them may follow, where nobody is called. bad: the agent that is to be suppressed;
    trait: prompts after which it speaks; answers: the same contexts with a question: columns `right` and `wrong` (a
    text or a list), which must not suffer. system: prompts with label 1 under a system prompt that asks for the bad
    trait and 0 under one that does not, for the other way to extract a vector. A column `by` in trait and answers tells
    contexts apart in which the trait has another cause; the claims are about the first. A column `round`: what is
    chosen is chosen in the first, and reported in later ones. group: what must not be in two parts.
    """

    items: Examples
    words: Mapping[str, Sequence[str]]
    speak: Examples
    other: Sequence[str] = ()
    bad: str | None = None
    trait: Examples | None = None
    answers: Examples | None = None
    system: Examples | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.items.frame["agent"].astype(str))))

    @property
    def options(self) -> list[str]:
        """All words, agent by agent, and then what is nobody's."""
        return [word for agent in self.agents for word in self.words[agent]] + list(self.other)

    @property
    def owners(self) -> list[int]:
        """Of which agent each option is; −1: nobody's."""
        each = [number for number, agent in enumerate(self.agents) for _ in self.words[agent]]
        return each + [-1] * len(self.other)

    def check(self, model: Model) -> None:
        """Raises DataError: columns, words, groups or rounds that do not fit; texts in place of lists of words; a
        prompt longer than the context, with the table that it is in."""
        check_items(self.items)
        for name, given in (*((f"words of {agent}", few) for agent, few in self.words.items()), ("other", self.other)):
            check_list(name, given)
        if set(self.words) != set(self.agents):
            raise DataError(
                f"Words are given for {available(self.words)}; the items' agents: {available(self.agents)}."
            )
        with _named("speak"):
            check_options(model, self.speak.prompts, [self.options] * len(self.speak))
        width = 1 + len(self.items.frame["negatives"].iloc[0])
        said = zip(self.items.frame["positive"], self.items.frame["negatives"], strict=True)
        texts = [text for own, few in said for text in (own, *few)]
        with _named("items"):
            model.rows([prompt for prompt in self.items.prompts for _ in range(width)], texts)
        if (self.bad is None) != (self.trait is None):
            raise DataError("bad= and trait= go together: an agent, and prompts after which it speaks.")
        if self.bad is not None and self.bad not in self.agents:
            raise DataError(f"No agent {self.bad!r}; available: {available(self.agents)}.")
        if self.trait is not None:
            with _named("trait"):
                check_options(model, self.trait.prompts, [self.options] * len(self.trait))
        elif self.answers is not None or self.system is not None:
            raise DataError("answers= and system= are about suppression; give bad= and trait= as well.")
        if self.answers is not None:
            with _named("answers"):
                check_options(model, self.answers.prompts, answers_of(self.answers))
        if self.system is not None:
            if set(self.system.labels.tolist()) != {0, 1}:
                raise DataError("system= needs rows of both labels: 1 where the system prompt asks for the trait.")
            with _named("system"):
                model.rows(self.system.prompts)
        if self.trait is not None and self.answers is not None and BY in self.answers.frame:
            missing = sorted(set(kinds(self.trait)) - set(kinds(self.answers)))
            if missing:
                raise DataError(f"Trait rows have {BY}={missing[0]!r}; answers have: {available(kinds(self.answers))}.")

    def hash(self) -> str:
        """A content hash of all tables and words."""
        digest = hashlib.sha256(json.dumps([dict(self.words), list(self.other), self.bad], default=list).encode())
        for name in TABLES:
            table: Examples | None = getattr(self, name)
            for part in () if table is None else table.json_lines():
                digest.update(part)
        return digest.hexdigest()[:16]

    def held(self, seed: int) -> set[str]:
        """Half of the groups, on which the claims are. Raises DataError: fewer than four."""
        tables = [getattr(self, name) for name in ("speak", "trait", "answers")]
        names = sorted({str(one) for table in tables if table is not None for one in table.groups})
        if len(names) < 4:
            raise DataError(f"{len(names)} groups ({available(names)}): at least 4 are needed, half to be held out.")
        order = np.random.default_rng(seed).permutation(len(names))
        return {names[number] for number in order[: len(names) // 2]}

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Debate":
        """From a folder: `items.jsonl` and `speak.jsonl`; `words.json` with "words", and if you have them "other" and
        "bad"; `trait.jsonl`, `answers.jsonl`, `system.jsonl`. Raises DataError: a file that is missing or not that."""
        folder = Path(folder)
        tables = {name: folder / f"{name}.jsonl" for name in TABLES}
        given: dict[str, Any] = {name: Examples.from_jsonl(path) for name, path in tables.items() if path.is_file()}
        if missing := [name for name in ("items", "speak") if name not in given]:
            raise DataError(f"{folder} holds no {missing[0]}.jsonl; a debate needs items, speak, and words.json.")
        try:
            whole = json.loads((folder / "words.json").read_text(encoding="utf-8"))
            words = {str(agent): [str(word) for word in few] for agent, few in whole["words"].items()}
            other = [str(word) for word in whole.get("other", [])]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f'{folder / "words.json"}: not {{"words": {{agent: [word, …]}}, …}} ({error!r:.120}).'
            ) from None
        for name, few in (*whole["words"].items(), ("other", whole.get("other", []))):
            check_list(f"{folder / 'words.json'}: {name}", few)
        bad = whole.get("bad")
        return cls(words=words, other=other, bad=None if bad is None else str(bad), **given)


@contextmanager
def _named(table: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{table}: {error}") from None


def check_list(name: str, given: object) -> None:
    """Raises DataError: a text, which would be taken for its letters."""
    if isinstance(given, str):
        raise DataError(f"{name}: {given!r} is a text; a list of words is needed.")


def kinds(table: Examples) -> list[str]:
    """What the column `by` says, in the order in which it does; one kind where there is none."""
    return list(dict.fromkeys(table.frame[BY].astype(str))) if BY in table.frame else ["all"]


def of_kind(table: Examples, kind: str) -> Examples:
    return table.select((table.frame[BY].astype(str) == kind).to_numpy()) if BY in table.frame else table


def answers_of(table: Examples) -> list[list[str]]:
    """The right answer of every row and its wrong ones. Raises DataError: none, or of unequal number."""
    for column in ("right", "wrong"):
        if column not in table.frame:
            raise DataError(f"Answers need a column {column!r}; available: {available(table.frame.columns)}.")
    out = []
    for right, wrong in zip(table.frame["right"], table.frame["wrong"], strict=True):
        out.append([right, *([wrong] if isinstance(wrong, str) else wrong)])
    return out


def part(table: Examples, held: set[str], *, test: bool) -> Examples:
    """The rows of the held-out groups (of later rounds), or of the others (of the first round).

    Raises DataError: no row is left.
    """
    inside: Bool[np.ndarray, " n"] = np.isin(table.groups.astype(str), sorted(held)) == test
    if "round" in table.frame and table.frame["round"].nunique() > 1:
        first = (table.frame["round"] == table.frame["round"].min()).to_numpy()
        inside &= ~first if test else first
    if not inside.any():
        raise DataError(
            f"No row of the {'later rounds of the held-out' if test else 'first round of the other'} groups is left; "
            "give rows of every group and round."
        )
    return table.select(inside)
