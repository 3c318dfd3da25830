"""The command dose: how much of a behaviour each strength gives."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from lens.errors import DataError, available
from steering.commands.measured import SPELLING, check_columns, measure_of
from steering.commands.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    ModelOption,
    Rows,
    TextOption,
    WhereOption,
    console,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd

STRENGTHS = "-2,-1,-0.5,-0.25,0,0.25,0.5,1,2"


def dose(
    direction: Annotated[Path, typer.Option(help="A direction saved by lens sweep --direction.")],
    data: DataOption,
    measure: Annotated[str, typer.Option(help=SPELLING)],
    model: ModelOption = "organism",
    text: TextOption = "prompt",
    group: GroupOption = None,
    where: WhereOption = None,
    strengths: Annotated[str, typer.Option(help="Numbers with commas between them; 0 is always measured.")] = STRENGTHS,
    unit: Annotated[
        str,
        typer.Option(help="Of strengths: norm (mean residual norms), difference (of the class means), or raw."),
    ] = "norm",
    span: Annotated[str, typer.Option(help="Tokens to steer.")] = "prompt[-1]:",
    random: Annotated[int, typer.Option(help="Random directions of the same norm to compare with.", min=0)] = 10,
    prompted: Annotated[
        list[str] | None,
        typer.Option(help="Rows of --data with COLUMN=VALUE, whose prompt asks for it, to compare with; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for dose.csv and the figure, index.html.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random directions.")] = 0,
    other_model: Annotated[bool, typer.Option(help="Use a direction that was fitted on another model.")] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Steer at several strengths: the measure with intervals, coherence, random directions, and the working range.

    Steer rows that a probe was not fitted on; choose the strength on other rows than those you report.

    Example: [cyan]lens dose --direction d.safetensors -d honesty --measure 'option:{wrong}|{right}' --out dose[/cyan]

    Example: [cyan]lens dose --direction d.safetensors -d a.csv --measure contains:sorry,no --strengths -1,1[/cyan]
    """
    import steering
    from lens.load import load
    from probes import Direction
    from steering.interventions import Unit

    doses, counted = _strengths(strengths), measure_of(measure)
    if unit not in get_args(Unit):
        raise DataError(f"Unknown --unit {unit!r}; available: {available(get_args(Unit))}.")
    vector = Direction.load(direction)
    steering.Add(vector, doses, span=span, unit=unit)  # type: ignore[arg-type]
    rows = Rows(data, text, group=group, where=where)
    examples = rows.load()
    check_columns(measure, examples.frame)
    asked = replace(rows, where=prompted).load() if prompted else None
    if out is not None and out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is a file; give a folder.")
    loaded = load(model, device=device, dtype=dtype)
    vector.check_model(loaded, other_model=other_model)
    curve = steering.dose_response(
        loaded,
        vector,
        examples,
        counted,
        strengths=doses,
        unit=unit,  # type: ignore[arg-type]
        span=span,
        random_draws=random,
        prompted=asked,
        seed=seed,
        other_model=other_model,
    )
    known = bool(curve["coherence"].notna().any())
    working = steering.working_range(curve, coherence=0.9 if known else None)
    print_table(_shown(curve), f"{counted.name}: {loaded.name} steered at {vector.site}, {len(examples)} rows")
    said = _range(working, unit)
    console().print(said, markup=False, highlight=False)
    if out is not None:
        _write(curve, working, out, f"{counted.name}, steered at {vector.site} of {loaded.name}", said)
        console().print(f"Table: {out / 'dose.csv'}\nFigure: {out / 'index.html'}", markup=False, highlight=False)


def _strengths(given: str) -> list[float]:
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise DataError(
            f"--strengths takes numbers with commas between them, such as -1,0.5,2; given: {given!r}."
        ) from None


def _shown(curve: "pd.DataFrame") -> "pd.DataFrame":
    """The curve to read in a terminal: intervals beside their values."""
    import pandas as pd

    def between(sign: str, *columns: str) -> list[str]:
        # Adding 0 makes 0 of -0.
        cells = (curve[list(columns)].round(2) + 0.0).itertuples(index=False)
        return [
            "–" if cell[0] != cell[0] else "{0:{3}.2f} ({1:{3}.2f}, {2:{3}.2f})".format(*cell, sign) for cell in cells
        ]

    names = {"direction": "steered", "random": "random", "prompt": "prompted"}
    return pd.DataFrame(
        {
            "": curve["arm"].map(names),
            "strength": curve["strength"],
            curve["measure"].iloc[0]: between("", "value", "low", "high"),
            "change": between("+", "change", "change_low", "change_high"),
            "coherence": curve["coherence"],
            "KL": curve["kl"],
            "n": curve["n"],
            "missing": curve["missing"],
        }
    )


def _range(working: "pd.DataFrame", unit: str) -> str:
    """The working range in words."""
    ends = {
        "knee": "beyond, the effect stops growing",
        "coherence": "beyond, the model is not coherent",
        "interval": "beyond, the effect is not clear of 0",
        "grid": "the largest strength measured",
    }
    why = {"no effect": "no strength has an effect", "incoherent": "where it has an effect, the model is not coherent"}
    parts = []
    for row in working.itertuples():
        if row.ended_by in why:
            parts.append(f"{row.side}: none ({why[row.ended_by]})")
        else:
            parts.append(f"{row.low:+g} to {row.high:+g}, where it changes by {row.change:+.2g} ({ends[row.ended_by]})")
    return f"Working range, in units of {unit}: {'; '.join(parts)}."


def _write(curve: "pd.DataFrame", working: "pd.DataFrame", out: Path, title: str, said: str) -> None:
    from lens import figures
    from lens.report import Page

    out.mkdir(parents=True, exist_ok=True)
    curve.to_csv(out / "dose.csv", index=False)
    page = Page(f"Dose curve: {title}", said)
    page.figure(
        figures.dose_response(curve, working=working),
        "What each strength does, with its 95 % interval over groups, beside random directions of the same norm. Where "
        "the dotted coherence line falls, the model no longer answers the question.",
    )
    page.table(_shown(curve), "Every arm and strength; change: against strength 0, on the same rows.")
    page.write(out / "index.html")
