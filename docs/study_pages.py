"""Write docs/studies/*.md and their pictures: what each study shows of an organism.

python docs/study_pages.py [STUDY ...] [--text]               (needs Chromium for the pictures, unless --text)
"""

import argparse
import textwrap
from pathlib import Path

import pandas as pd
from picture import shoot
from study_runs import ABOUT, LEFT_OUT, RUNS, TABLES

from steering import studies
from steering.studies import Result

OUT = Path(__file__).parent / "studies"


def page(file: str, result: Result, *, pictures: bool, out: Path) -> str:
    """The page as Markdown; pictures are written beside it."""
    name = result.study
    title = name.replace("_", " ").capitalize()
    parts = [
        f"# {title}: {result.settings['model']}\n",
        f"Written by `python docs/study_pages.py {file}`, every figure and picture. {studies.about(name)} "
        f"{ABOUT.get(file, '')}\n",
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
    shown = [one for one in result.figures() if not one.title.startswith(LEFT_OUT.get(name, "\n"))]
    for number, (heading, figure, reading) in enumerate(shown, start=1):
        picture = f"{file}-{number}.png"
        if pictures:
            figure.update_layout(width=880, height=400)
            shoot(figure, out / picture, width=900, height=415)
        parts += [f"## {heading}\n", f"![{heading}]({picture})\n", f"{reading}\n"]
    parts.append("## Numbers\n")
    # Not every run has every table: with one model there is none of what several share.
    for table in (one for one in TABLES.get(name, []) if one in result.tables):
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
    # Of a claim on two models there is no interval.
    between = [
        f"{row.value:.2f}" + ("" if pd.isna(row.low) else f" ({row.low:.2f} to {row.high:.2f})")
        for row in claims.itertuples()
    ]
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
