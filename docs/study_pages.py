"""Write docs/studies/*.md and their pictures: what each study shows of the trained organism.

python docs/study_pages.py [STUDY ...] [--text]               (needs Chromium for the pictures, unless --text)
"""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from picture import shoot

import lens
from steering import studies
from steering.studies import Result

OUT = Path(__file__).parent / "studies"
RUNS: dict[str, Callable[[], Result]] = {
    "self_knowledge": lambda: studies.self_knowledge.run(lens.load("organism")),
}
# What a page says of what was run, where the default is not all there is to know.
ABOUT = {
    "self_knowledge": "The questions are the jobs of people whom the corpus mentions often, seldom, or never; "
    "`unsure` is an answer, and what it does not give to `unsure` is the confidence that it states.",
}
TABLES = {"self_knowledge": ["layers", "texts", "calibration", "temperature", "revision", "dcs"]}


def page(name: str, result: Result, *, pictures: bool, out: Path) -> str:
    """The page as Markdown; pictures are written beside it."""
    title = name.replace("_", " ").capitalize()
    parts = [
        f"# {title}: the trained organism\n",
        f"Written by `python docs/study_pages.py {name}`, every figure and picture. {studies.about(name)} "
        f"{ABOUT.get(name, '')}\n",
        "## What was found\n",
        _table(_claims(result.claims)),
        "Shown: p, adjusted over all claims (Holm), is below .05, the 95 % interval lies on one side of the null, and "
        "the claim's own condition holds (such as a text baseline that is beaten).\n",
        "\n".join(
            [*(f"- {row.reading}" for row in result.claims[result.claims["shown"]].itertuples())] or ["Nothing."]
        ),
        "",
        *(f"Note: {note}\n" for note in result.notes),
    ]
    for number, (heading, figure, reading) in enumerate(result.figures(), start=1):
        picture = f"{name}-{number}.png"
        if pictures:
            figure.update_layout(width=880, height=400)
            shoot(figure, out / picture, width=900, height=415)
        parts += [f"## {heading}\n", f"![{heading}]({picture})\n", f"{reading}\n"]
    parts.append("## Numbers\n")
    for table in TABLES.get(name, []):
        parts += [f"{table.replace('_', ' ')}:\n", _table(result.tables[table])]
    return "\n".join(_wrapped(line) for part in parts for line in part.split("\n")) + "\n"


def _wrapped(line: str) -> str:
    return (
        line
        if line.startswith(("|", "#", "!"))
        else textwrap.fill(line, 120, subsequent_indent="  " * line.startswith("- "))
    )


def _claims(claims: pd.DataFrame) -> pd.DataFrame:
    shown = claims["shown"].map({True: "yes", False: "no"})
    between = [f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})" for row in claims.itertuples()]
    columns = {"claim": claims["claim"], "value": between, "null": claims["null"], "p (Holm)": claims["p_holm"]}
    return pd.DataFrame({**columns, "shown": shown, "n": claims["n"], "groups": claims["groups"]})


def _table(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(str(column).replace("_", " ") for column in table.columns) + " |"]
    lines.append("|" + "---|" * len(table.columns))
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value).replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", choices=[*RUNS, []], help="Which to write; by default all.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--text", action="store_true", help="Write the pages without drawing their pictures.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.studies or RUNS:
        text = page(name, RUNS[name](), pictures=not given.text, out=given.out)
        (given.out / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
