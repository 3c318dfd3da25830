"""Write docs/studies/*.md and their pictures: what each study shows of an organism.

python docs/study_pages.py [STUDY ...] [--text]               (needs Chromium for the pictures, unless --text)
"""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from picture import shoot

import lens
from lens.organisms import constructed
from steering import studies
from steering.studies import Result

OUT = Path(__file__).parent / "studies"
TWINS = "organism:prediction-shared", "organism:prediction-other"


def injected_thoughts() -> Result:
    """The organism that notices what is injected, and the questions that its words allow."""
    options = studies.injected_thoughts.of_organism("thought-detector")
    return studies.injected_thoughts.run(lens.load("organism:thought-detector"), **options)


def self_prediction() -> Result:
    """Two organisms with keys of their own; the first predicts itself by the circuit that it answers with."""
    asked = constructed.build("prediction-shared").examples.where(ask="act", known=0)
    one, other = (lens.load(name) for name in TWINS)
    return studies.self_prediction.run(one, other, asked, options=["amber", "coral"], property="vowel")


RUNS: dict[str, Callable[[], Result]] = {
    "injected_thoughts": injected_thoughts,
    "neurofeedback": lambda: studies.neurofeedback.run(lens.load("organism")),
    "neurofeedback_incontext": lambda: studies.neurofeedback.run(lens.load("organism:trained-incontext")),
    "self_knowledge": lambda: studies.self_knowledge.run(lens.load("organism")),
    "self_prediction": self_prediction,
}
# What a page says of what was run, where the default is not all there is to know.
ABOUT = {
    "injected_thoughts": "This organism compares what it finds in its stream with what its text explains. How the "
    "study tells it from one that is blind, one that parrots and one that says yes to anything: "
    "[proof](injected_thoughts_proof.md).",
    "neurofeedback": "The trained organism never saw labels in a context in training. How the study tells axes that "
    "are reported and controlled from others: [proof](neurofeedback_proof.md).",
    "neurofeedback_incontext": "This organism was trained to report labels in context and to speak to order "
    "([its page](../incontext.md)). Its sentences tell of happy and unhappy people; groups are the words that say so, "
    "and those tested stand in no sentence that fitted the axis: there are few of them.",
    "self_knowledge": "The questions are the jobs of people whom the corpus mentions often, seldom, or never; "
    "`unsure` is an answer, and what it does not give to `unsure` is the confidence that it states.",
    "self_prediction": "A answers hypothetical questions by the circuit that it answers with; B has a key of its own. "
    "All questions are pairs of words that neither knows by heart.",
}
# Figures of one kind, of which one is enough here.
LEFT_OUT = {"neurofeedback": "Reports: pc"}
TABLES = {
    "injected_thoughts": ["cells", "comparisons"],
    "neurofeedback": ["told", "control"],
    "self_knowledge": ["layers", "texts", "calibration", "temperature", "revision", "dcs"],
    "self_prediction": ["accuracy", "gaps"],
}


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
