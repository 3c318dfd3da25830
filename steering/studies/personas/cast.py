"""Cast: the personas of a study, what each is said to be, what it is asked, and how its traits are checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.errors import DataError, available
from lens.examples import Examples
from lens.model import Model
from steering.studies.firsts import Columns, texts_of
from steering.studies.imbued import imbued, takes_system

KNOWN = ("persona", "line")
FEW = 4
REFUSAL: Columns = ("refuse", "comply")
POLES: Columns = ("high", "low")
PARTS = ("train", "validation", "test")
SHARES = (0.3, 0.6)


@dataclass(frozen=True, eq=False)
class Cast:
    """Who is played, and what is asked.

    names, lines: the personas, and the text that makes each by prompting. signs[p, t]: how much of trait t persona p
    has, as told (1, 0, −1, or other numbers). neutral: the text of nobody in particular ("": none). requests: rows with
    `refuse` and `comply`, label 1 where a request is harmful. checks: rows with `trait`, `high` and `low`. part: of
    each group, which part of the study it serves: train, validation or test.
    """

    names: tuple[str, ...]
    lines: tuple[str, ...]
    traits: tuple[str, ...]
    signs: Float[np.ndarray, "personas traits"]
    neutral: str
    requests: Examples
    checks: Examples
    part: dict[str, str]

    @classmethod
    def of(cls, personas: pd.DataFrame, requests: Examples, checks: Examples, *, seed: int = 0) -> "Cast":
        """A cast of three tables.

        personas: columns `persona` and `line`, and one for each trait with the persona's sign; a persona whose signs
        are all 0 is the neutral one (without any, nothing is said). requests: prompt, label (1: harmful), refuse,
        comply: texts that an answer begins with, a list, or one text with | between them. checks: prompt, trait, high,
        low: texts that show the trait, or its opposite.

        Raises DataError: a missing column, too few personas, traits that cannot be told apart, several neutral lines,
        requests of one kind, a trait without checks, too few groups for the three parts.
        """
        missing = [name for name in KNOWN if name not in personas]
        if missing:
            raise DataError(f"Personas need a column {missing[0]!r}; available: {available(personas.columns)}.")
        traits = tuple(str(name) for name in personas.columns if name not in KNOWN)
        signs = _signs(personas, traits)
        for column in KNOWN:
            bad = [row for row, text in enumerate(personas[column]) if not isinstance(text, str)]
            if bad:
                raise DataError(f"Persona {bad[0]}: column {column!r} holds {personas[column].iloc[bad[0]]!r:.60}.")
        nobody = ~signs.any(axis=1)
        if nobody.sum() > 1:
            raise DataError(f"Several personas without any trait: {available(personas['persona'][nobody])}; give one.")
        names = personas["persona"][~nobody].tolist()
        if len(names) < FEW or len(set(names)) < len(names):
            raise DataError(f"At least {FEW} personas of different names are needed; given: {available(names)}.")
        rank = np.linalg.matrix_rank(np.column_stack([np.ones(len(signs)), signs]))
        if rank <= len(traits):
            raise DataError(
                f"Traits {available(traits)} go together in the {len(names)} personas: their directions cannot be told "
                "apart. Give personas that cross them, and a neutral one."
            )
        rows = _requests(requests), _checks(checks, traits)
        return cls(
            tuple(names),
            tuple(personas["line"][~nobody]),
            traits,
            signs[~nobody],
            personas["line"][nobody].iloc[0] if nobody.any() else "",
            *rows,
            _parts(*rows, traits, seed),
        )

    def said(self, model: Model, rows: Examples, lines: Sequence[str]) -> Examples:
        """Every row after every line: all rows after the first line, and on."""
        system = takes_system(model)
        frame = pd.concat([rows.frame] * len(lines), ignore_index=True)
        owner = np.repeat(np.arange(len(lines)), len(rows)).tolist()
        frame["prompt"] = [
            imbued(prompt, lines[who], system=system) for who, prompt in zip(owner, frame["prompt"], strict=True)
        ]
        return Examples(frame)

    def rows(self, table: Examples, part: str, **values: Any) -> Examples:
        """The rows of one part that have these values."""
        chosen = table.where(**values) if values else table
        return chosen.select(np.array([self.part[str(group)] == part for group in chosen.groups]))


def read_personas(path: str | Path) -> pd.DataFrame:
    """The personas of a .csv file. Raises DataError: no such file, or no table in UTF-8."""
    try:
        return pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable CSV file in UTF-8: {error}") from None


def _signs(personas: pd.DataFrame, traits: Sequence[str]) -> Float[np.ndarray, "personas traits"]:
    if not traits:
        raise DataError("Personas need a column for each trait, with 1, 0 or −1; only persona and line are given.")
    numbers = personas[list(traits)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise DataError(f"Persona {row}: {traits[column]!r} is {personas[traits[column]].iloc[row]!r}, not a number.")
    idle = [trait for trait, column in zip(traits, numbers.T, strict=True) if not column.any()]
    if idle:
        raise DataError(f"No persona has any of {available(idle)}.")
    return numbers


def _requests(requests: Examples) -> Examples:
    found = set(requests.labels.tolist())
    if found != {0, 1}:
        raise DataError(f"Requests of both kinds are needed, harmful (label 1) and harmless (0); given: {found}.")
    _no_system(requests)
    return texts_of(requests, REFUSAL)


def _checks(checks: Examples, traits: Sequence[str]) -> Examples:
    if "trait" not in checks.frame:
        raise DataError(f"Checks need a column 'trait'; available: {available(checks.frame.columns)}.")
    idle = set(traits) - set(checks.frame["trait"])
    if idle:
        found = available(checks.frame["trait"].unique())
        raise DataError(f"No check of {available(sorted(idle))}; the checks are of {found}.")
    _no_system(checks)
    return texts_of(checks.where(trait=list(traits)), POLES)


def _no_system(rows: Examples) -> None:
    for number, prompt in enumerate(rows.prompts):
        if not isinstance(prompt, str) and prompt[0]["role"] == "system":
            raise DataError(f"Row {number} begins with a system message, where a persona's line has to go.")


def _parts(requests: Examples, checks: Examples, traits: Sequence[str], seed: int) -> dict[str, str]:
    """Groups dealt out so that each part has harmful and harmless requests, and checks of every trait."""
    rng = np.random.default_rng(seed)
    needs = [("harmful requests", requests.where(label=1)), ("harmless requests", requests.where(label=0))]
    needs += [(f"checks of {trait}", checks.where(trait=trait)) for trait in traits]
    part: dict[str, str] = {}
    for what, rows in needs:
        groups = sorted(set(map(str, rows.groups)))
        if len(groups) < len(PARTS):
            raise DataError(f"{what[0].upper() + what[1:]} are of {len(groups)} groups; each of {PARTS} needs its own.")
        # What is dealt already stays; new groups go where the table has the least of its share.
        shares = np.diff([0.0, *SHARES, 1.0]) * len(groups)
        for group in rng.permutation([one for one in groups if one not in part]):
            held = np.array([sum(part.get(one) == name for one in groups) for name in PARTS])
            part[str(group)] = PARTS[int(np.argmax(np.where(held == 0, 10.0, 0.0) + shares - held))]
        lacking = [name for name in PARTS if name not in {part[one] for one in groups}]
        if lacking:
            raise DataError(f"{what[0].upper() + what[1:]} leave the {lacking[0]} part empty; give more groups.")
    return part
