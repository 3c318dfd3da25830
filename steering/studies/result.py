"""Result: what a study found, with what it was given, and the page that tells it. Every study returns one."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from lens.errors import ArtifactError, available
from lens.files import Files
from lens.model import Model
from lens.report import Page
from probes.metrics import adjust
from steering.studies.tables import frame_of, json_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FORMAT = 1
FILE = "result.json"
LEVEL = 0.05
PACKAGES = ("behaviorlens", "torch", "transformers", "scikit-learn")
COLUMNS = ("claim", "value", "low", "high", "null", "p", "p_holm", "shown", "n", "groups", "reading")


class Figured(NamedTuple):
    """A figure with its title and the sentence that says what to see in it."""

    title: str
    figure: "Figure"
    reading: str


class Claim(NamedTuple):
    """One thing that a study may show.

    value, with its 95 % interval low to high; null: what it would be if there were nothing; p: of a test whose null is
    that there is nothing; n rows in so many groups. gate: what else has to hold, such as a text baseline that is
    beaten. reading: in words, what it means if it is shown.
    """

    claim: str
    value: float
    low: float
    high: float
    null: float
    p: float
    n: int
    groups: int
    reading: str
    gate: bool = True


def judged(claims: Iterable[Claim]) -> pd.DataFrame:
    """Claims as a table, with p-values adjusted over all of them together.

        shown = p_holm < .05,  and the interval lies on one side of the null,  and the gate holds

    so that the chance that a model of which none is true is said to show any is at most .05. Without a p-value (nan)
    nothing is shown: a figure to read, not a claim.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979).
    """
    table = pd.DataFrame(list(claims), columns=list(Claim._fields))
    tested = table["p"].notna().to_numpy()
    table["p_holm"] = np.nan
    table.loc[tested, "p_holm"] = adjust(table.loc[tested, "p"].to_numpy(dtype=float), "holm")
    apart = (table["low"] > table["null"]) | (table["high"] < table["null"])
    table["shown"] = (table["p_holm"] < LEVEL) & apart & table["gate"].astype(bool)
    return table[list(COLUMNS)]


@dataclass(frozen=True, eq=False)
class Result:
    """What a study found.

    claims: what it may show, each with value, interval, null, p, `p_holm`, and `shown`: whether the evidence passes.
    tables: the tidy frames behind them. settings: what the study was given, with model, seed and versions.
    notes: what a reader has to know, such as rows that could not be parsed.
    """

    study: str
    claims: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    settings: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        shown = self.claims[self.claims["shown"]]["claim"].tolist()
        head = f"{self.study} of {self.settings['model']}: shown: {available(shown) if shown else 'nothing'}."
        return "\n".join([head, self.claims.drop(columns="reading").round(3).to_string(index=False), *self.notes])

    def shows(self, claim: str) -> bool:
        """Whether the evidence for a claim passes. Raises ArtifactError: no such claim."""
        return bool(self.row(claim)["shown"])

    def row(self, claim: str) -> pd.Series:
        """One claim. Raises ArtifactError: no such claim."""
        found = self.claims[self.claims["claim"] == claim]
        if found.empty:
            raise ArtifactError(f"No claim {claim!r}; available: {available(self.claims['claim'])}.")
        return found.iloc[0]

    def figures(self) -> list[Figured]:
        """The study's figures, made from the tables."""
        from steering import studies

        return list(studies.get(self.study).figures(self))

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML page: claims, figures with what to see in them, settings, notes."""
        from steering import studies

        page = Page(
            f"{self.study.replace('_', ' ').capitalize()}: {self.settings['model']}",
            studies.about(self.study),
            footer=" · ".join(f"{name} {number}" for name, number in self.settings["versions"].items()),
        )
        page.section("What was found", " ".join(self.notes))
        page.table(
            self.claims.assign(shown=self.claims["shown"].map({True: "yes", False: "no"})),
            "shown: the p-value, adjusted over all claims, is below .05, the 95 % interval lies on one side of the "
            "null, and the claim's own condition holds.",
        )
        for title, figure, reading in self.figures():
            page.section(title)
            page.figure(figure, reading)
        page.section("Settings")
        given = [(name, json.dumps(value, default=str)) for name, value in self.settings.items()]
        page.table(pd.DataFrame(given, columns=["setting", "value"]), "What the study was given.")
        return page.write(path)

    def save(self, folder: str | Path) -> Path:
        """Write `result.json` and, for readers of tables, one CSV per table; in place of an older result."""
        files = Files(folder)
        for name, table in {"claims": self.claims, **self.tables}.items():
            files.put(f"{name}.csv", table.to_csv(index=False).encode())
        whole = {
            "format": FORMAT,
            "study": self.study,
            "claims": json_of(self.claims),
            "tables": {name: json_of(table) for name, table in self.tables.items()},
            "settings": self.settings,
            "notes": list(self.notes),
        }
        files.put(FILE, (json.dumps(whole, indent=1, default=str) + "\n").encode())
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Result":
        """Read what `save` wrote. Raises ArtifactError: nothing there, damaged, or of another format."""
        data = Files(folder).get(FILE)
        if data is None:
            raise ArtifactError(f"{folder} holds no {FILE}; give the folder of a saved result.")
        try:
            whole = json.loads(data)
            if whole["format"] != FORMAT:
                raise ArtifactError(f"{folder}: format {whole['format']!r}; this version reads format {FORMAT}.")
            tables = {name: frame_of(table) for name, table in whole["tables"].items()}
            settings, notes = dict(whole["settings"]), tuple(whole["notes"])
            return cls(str(whole["study"]), frame_of(whole["claims"]), tables, settings, notes)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder}: {FILE} is no saved result ({error!r:.200}).") from error


def settings_of(model: Model, **given: Any) -> dict[str, Any]:
    """What a result has to say of how it was made: the model, the versions, and what the study was given."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dtype": str(model.dtype),
        "applied": list(model.applied),
        **given,
        "versions": {name: version(name) for name in PACKAGES},
    }


def digest_of(given: Any) -> str:
    """A short content hash of numbers, texts, lists and dictionaries, in their order."""
    return hashlib.sha256(json.dumps(given, default=str).encode()).hexdigest()[:16]


def rounded(values: Sequence[float], digits: int = 2) -> list[float]:
    """Numbers to show in a figure."""
    return [round(float(value), digits) + 0.0 for value in values]
