"""The command `lens edit`: a change written into the weights, what it did, and the edited model as a folder."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lens.errors import DataError, available
from steering.commands.measured import SPELLING, check_columns, measure_of
from steering.commands.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    ModelOption,
    Rows,
    TextOption,
    WhereOption,
    check_unread,
    console,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd

    from steering.edits import Change, Edit

KINDS = ("orthogonalize", "surgery", "bias")


def edit(
    direction: Annotated[
        list[Path],
        typer.Option(
            help="A direction saved by lens sweep --direction. orthogonalize takes several: what they span goes."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="New folder for the edited model; transformers loads it by itself.")
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option(help="Small .safetensors file with the change alone; steering.Edit.load makes it again."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="orthogonalize: nothing can write the direction any more. surgery: gate rows turned against it are "
            "pulled towards it. bias: it is added at every token."
        ),
    ] = "orthogonalize",
    model: ModelOption = "organism",
    rows: Annotated[
        float, typer.Option(help="surgery: share of all gate rows below 1, or how many.", min=0.0)
    ] = 0.0465,
    alpha: Annotated[float, typer.Option(help="surgery: how far each row moves, in raw probe rows.")] = 1.0,
    strength: Annotated[float, typer.Option(help="bias: how much is added; negative for less of it.")] = 1.0,
    unit: Annotated[str, typer.Option(help="bias: norm, difference or raw.")] = "norm",
    site: Annotated[
        str | None, typer.Option(help="bias: attn_out.l, mlp_out.l or resid_post.l; by default the direction's.")
    ] = None,
    through_norms: Annotated[
        bool,
        typer.Option(
            "--through-norms",
            help="orthogonalize: also where a norm follows the writer (Gemma, OLMo 2). The direction goes, but the "
            "result is not what ablating it does.",
        ),
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="File or shipped set to measure on, before and after.")
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What to measure there, before and after; may be repeated, for the behaviour and for what it must "
            f"not cost. {SPELLING}"
        ),
    ] = None,
    text: TextOption = "prompt",
    group: GroupOption = None,
    where: WhereOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    other_model: Annotated[bool, typer.Option(help="Use a direction that was fitted on another model.")] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Write a direction out of the weights (or into them), say what changed and what it did, and save the model.

    Measure on rows that the direction was not fitted on.

    Example: [cyan]lens edit --direction honesty.safetensors --out edited --data honesty --where cue=none
    --measure 'option:{wrong}|{right}'[/cyan]

    Example: [cyan]lens edit -m ./my-model --direction anger.safetensors --kind surgery --alpha 0.5 --diff anger.edit
    [/cyan]
    """
    import steering
    from lens.load import load

    if bool(data) != bool(measure):
        raise DataError("--data and --measure go together: the rows, and what to measure on them.")
    if out is None and diff is None and data is None:
        raise DataError("Nothing would be left of the edit: give --out FOLDER, --diff FILE, or --data with --measure.")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"--out {out} is there already; give a new folder.")
    if not data:
        check_unread("--data", text=text, where=where, group=group)
    change = _change(kind, direction, rows, alpha, strength, unit, site, through_norms)
    examples = Rows(data, text, group=group, where=where).load() if data else None
    measures = {one: measure_of(one) for one in measure or []}
    if examples is not None:
        for one in measures:
            check_columns(one, examples.frame)
    loaded = load(model, device=device, dtype=dtype)
    with steering.edit(loaded, change, other_model=other_model) as done:
        print_table(_summary(done.table()), f"{done.name} of {loaded.name}")
        console().print(_note(done), markup=False, highlight=False)
        if diff is not None:
            console().print(f"Change: {done.save(diff)}", markup=False, highlight=False)
        if out is not None:
            console().print(f"Model: {done.export(out)}", markup=False, highlight=False)
    if examples is not None:
        table = steering.compare(loaded, change, examples, measures, seed=seed, other_model=other_model)
        print_table(_shown(table), f"Before and after, {len(examples)} rows")


def _change(
    kind: str,
    paths: list[Path],
    rows: float,
    alpha: float,
    strength: float,
    unit: str,
    site: str | None,
    through_norms: bool,
) -> "Change":
    import steering
    from probes import Direction

    if kind not in KINDS:
        raise DataError(f"Unknown --kind {kind!r}; available: {available(KINDS)}.")
    directions = [Direction.load(path) for path in paths]
    if kind == "orthogonalize":
        return steering.Orthogonalize(directions, through_norms=through_norms)
    if len(directions) > 1:
        raise DataError(f"--kind {kind} takes one --direction; given: {len(directions)}.")
    if kind == "bias":
        return steering.AddBias(directions[0], strength, unit=unit, site=site)  # type: ignore[arg-type]
    return steering.Surgery(directions[0], rows=rows if rows < 1 else int(rows), alpha=alpha)


def _summary(table: "pd.DataFrame") -> "pd.DataFrame":
    """What changed, with the blocks together."""
    import pandas as pd

    names = table["parameter"].map(lambda name: re.sub(r"\.\d+\.", ".*.", name))
    grouped = table.groupby(names, sort=False)
    return pd.DataFrame(
        {
            "parameter": list(grouped.groups),
            "matrices": grouped.size().to_numpy(),
            "rows": [f"{one['rows'].sum()} of {one['of'].sum()}" for _, one in grouped],
            "change": [
                "added" if one["change"].max() == float("inf") else f"{one['change'].mean():.1%}" for _, one in grouped
            ],
        }
    )


def _note(done: "Edit") -> str:
    found: dict[str, Any] = done.details
    if "cutoff" not in found:
        return done.note
    counts = {layer: sum(row[0] == layer for row in found["rows"]) for layer, _ in found["rows"]}
    blocks = ", ".join(f"block {layer}: {count}" for layer, count in counts.items())
    return (
        f"{done.note} {blocks}. Cut-off cosine {found['cutoff']:.3f}; random rows would have {found['chance']:.3f} "
        f"({found['excess']:+.0f} standard errors)."
    )


def _shown(table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    three = zip(table["change"], table["low"], table["high"], strict=True)
    return pd.DataFrame(
        {
            "measure": table["measure"],
            "before": table["before"],
            "after": table["after"],
            "change": [f"{middle:+.3f} ({low:+.3f} to {high:+.3f})" for middle, low, high in three],
            "p (Holm)": table["p_holm"],
            "n": table["n"],
            "missing": table["missing"],
        }
    )
