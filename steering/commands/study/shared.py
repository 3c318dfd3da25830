"""What the commands of studies share: where results go, and how they are printed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens.errors import DataError
from steering.commands.options import console, print_table

if TYPE_CHECKING:
    import pandas as pd

    from steering.studies import Result

OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the page index.html, result.json and a CSV of every table.")
]
ResumeOption = Annotated[
    Path | None, typer.Option(help="Folder that keeps finished parts: a killed run goes on from there.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of everything drawn: trials, folds, bootstraps, permutations.")]


def check_out(out: Path | None) -> None:
    """Raises DataError where results could not be written, before they are computed."""
    if out is not None and out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a folder.")


def finish(result: "Result", out: Path | None) -> None:
    """Write page and tables; print the claims and the notes. Written first: what cannot be printed is not lost."""
    page = None
    if out is not None:
        result.save(out)
        page = result.report(out / "index.html")
    print_table(_shown(result.claims), f"{result.study.replace('_', ' ')}: {result.settings['model']}")
    say = console()
    for row in result.claims[result.claims["shown"]].itertuples():
        say.print(f"Shown: {row.reading}", markup=False, highlight=False)
    if not result.claims["shown"].any():
        say.print("Shown: nothing.", markup=False, highlight=False)
    for note in result.notes:
        say.print(f"Note: {note}", markup=False, highlight=False)
    if out is not None:
        say.print(f"Page: {page}\nNumbers: {out}", markup=False, highlight=False)


def _shown(claims: "pd.DataFrame") -> "pd.DataFrame":
    """Claims to read in a terminal: intervals beside their values."""
    import pandas as pd

    cells = (claims[["value", "low", "high"]].round(3) + 0.0).itertuples(index=False)
    between = ["–" if a != a else f"{a:.3g}" if b != b else f"{a:.3g} ({b:.3g}, {c:.3g})" for a, b, c in cells]
    return pd.DataFrame(
        {
            "claim": claims["claim"],
            "value": between,
            "null": claims["null"],
            "p (Holm)": claims["p_holm"],
            "shown": claims["shown"].map({True: "yes", False: "no"}),
            "n": claims["n"],
            "groups": claims["groups"],
        }
    )
