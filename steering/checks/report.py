"""CheckReport: what was proven about a model, row by row, and what was not."""

import html
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

Status = Literal["pass", "fail", "not applicable", "not tested"]

_COLORS: dict[Status, str] = {
    "pass": "#009E73",
    "fail": "#D55E00",
    "not applicable": "#777777",
    "not tested": "#E69F00",
}


@dataclass(frozen=True)
class Row:
    """One property of one model.

    error: the largest relative error found, nan where nothing was measured. why: where the tolerance comes from;
    or why the property does not apply here, or could not be tested. first: the first place, in the order of the
    forward pass, whose error is above the tolerance, with that error.
    """

    property: str
    what: str
    status: Status
    error: float
    tolerance: float
    why: str
    first: str = ""


@dataclass(frozen=True)
class CheckReport:
    """The rows of `steering.check`, one per property; prints, and shows in Jupyter, as a table.

    A property is `not applicable` only for a reason that is known before anything runs (an encoder generates no
    text); what broke while it was tested is `not tested`, and never a pass.
    """

    model: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether no property failed and none that applies was left untested."""
        return not self.failed and not self.untested

    @property
    def failed(self) -> list[str]:
        """The properties that were refuted."""
        return self._named("fail")

    @property
    def untested(self) -> list[str]:
        """The properties that apply and could not be tested."""
        return self._named("not tested")

    def _named(self, status: Status) -> list[str]:
        return [row.property for row in self.rows if row.status == status]

    def __getitem__(self, name: str) -> Row:
        """The row of a property. Raises KeyError where there is none of this name."""
        return {row.property: row for row in self.rows}[name]

    @property
    def table(self) -> pd.DataFrame:
        """The rows as a frame: property, what, status, error, tolerance, why, first."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    @property
    def verdict(self) -> str:
        """One line: what came out."""
        counts = [(len(self._named(status)), status) for status in _COLORS]
        said = ", ".join(f"{count} {status}" for count, status in counts if count)
        return f"{self.model}: {'ok' if self.ok else 'NOT OK'} ({said})"

    def to_json(self) -> str:
        """The report as JSON; errors that were not measured are null, infinite ones the text "inf"."""
        rows = [{name: _plain(value) for name, value in asdict(row).items()} for row in self.rows]
        return json.dumps({"model": self.model, "ok": self.ok, "rows": rows}, indent=2, allow_nan=False)

    def __str__(self) -> str:
        lines = [self.verdict]
        for row in self.rows:
            lines.append(f"  {row.status:14}  {row.property:21}  {_measured(row)}".rstrip())
            lines += [f"{'':18}{text}" for text in _remarks(row)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def cells(row: Row) -> str:
            colored = f'<td style="color:{_COLORS[row.status]};font-weight:bold">{row.status}</td>'
            rest = (row.property, row.what, _measured(row), "; ".join(_remarks(row)) or row.why)
            return colored + "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in rest)

        head = "".join(f"<th>{name}</th>" for name in ("", "property", "what", "error", "why"))
        body = "".join(f"<tr>{cells(row)}</tr>" for row in self.rows)
        return f"<p>{html.escape(self.verdict)}</p><table><tr>{head}</tr>{body}</table>"


def _measured(row: Row) -> str:
    if row.status in ("not applicable", "not tested"):
        return ""
    return f"{row.error:.1e} {'≤' if row.status == 'pass' else 'not ≤'} {row.tolerance:.1e}"


def _remarks(row: Row) -> list[str]:
    if row.status == "fail":
        return [f"first: {row.first}", row.why]
    return [row.why] if row.status != "pass" else []


def _plain(value: Any) -> Any:
    if not isinstance(value, float) or abs(value) < float("inf"):
        return value
    return None if value != value else str(value)
