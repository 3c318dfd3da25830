"""Report: one self-contained page of figures, tables and texts. Everything from a model or a table is escaped."""

import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass
class Page:
    """A page built from the top down; each figure and table has a sentence that says what to see.

    >>> page = Page("Honesty", "What was found."); page.section("Layers"); page.write("page.html")  # doctest: +SKIP
    """

    title: str
    intro: str
    footer: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def section(self, title: str, text: str = "") -> None:
        """Begin a section."""
        self.blocks.append({"kind": "section", "title": title, "text": text})

    def figure(self, figure: "Figure", caption: str) -> None:
        """Add a plotly figure; it needs no network to be drawn."""
        html = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
        self.blocks.append({"kind": "figure", "html": html, "caption": caption})

    def table(self, frame: pd.DataFrame, caption: str) -> None:
        """Add a table; numbers are rounded to three decimals."""
        rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
        self.blocks.append({"kind": "table", "columns": list(frame.columns), "rows": rows, "caption": caption})

    def write(self, path: str | Path) -> Path:
        """Write the page as one file, plotly's own script included."""
        from jinja2 import Environment
        from plotly.offline import get_plotlyjs

        template = files("lens").joinpath("templates/page.html").read_text(encoding="utf-8")
        html = (
            Environment(autoescape=True)
            .from_string(template)
            .render(
                title=self.title, intro=self.intro, footer=self.footer, blocks=self.blocks, plotly_js=get_plotlyjs()
            )
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(html, encoding="utf-8")
        part.replace(path)
        return path


def write_json(results: dict[str, Any], path: str | Path) -> Path:
    """Write results as JSON at once; missing numbers become null."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(_plain(results), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, pd.DataFrame):
        return _plain(value.to_dict("records"))
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _cell(value: Any) -> dict[str, str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return {"kind": "text" if isinstance(value, str) and " " in value else "", "text": str(value)}
    if value != value:
        return {"kind": "number", "text": "–"}
    return {"kind": "number", "text": f"{value:,}" if isinstance(value, int) else f"{value:.3f}"}
