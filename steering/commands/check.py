"""The command check: prove on a model that reading, steering and editing do what they say."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens.errors import DataError
from steering.commands.options import DeviceOption, DtypeOption, console, print_table

if TYPE_CHECKING:
    import pandas as pd

    from steering.checks import CheckReport


def check(
    model: Annotated[
        str, typer.Argument(help="'organism' (ships with the package), a folder, or a hub id.", show_default=True)
    ] = "organism",
    texts: Annotated[
        Path | None,
        typer.Option(
            help="Check on these texts, of different lengths: a .txt file with one per line, or a .csv or .jsonl file "
            "with a column 'prompt'. By default: random tokens."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Prove on a model, in seconds, that reading, steering and editing do what they say.

    One row per property: padding, batches, layers, generation with and without KV cache, hooks, ablation, weight edits
    and their undo, the TransformerLens bridge, 16 bits. Each compares two computations that must agree; the error is
    relative to the norm of what is compared, the tolerance follows from the dtype.

    [bold]pass[/bold]: agrees. [bold]fail[/bold]: does not; the first place in the forward pass that differs is named.
    [bold]not applicable[/bold]: the model cannot have it, with the reason. [bold]not tested[/bold]: broke on the way;
    never counted as a pass. The exit code is 1 if anything failed or went untested.

    Example: [cyan]lens check ./my-model --dtype bfloat16[/cyan]

    Example: [cyan]lens check Qwen/Qwen3-0.6B --texts prompts.txt --out check.json[/cyan]
    """
    import steering
    from lens.load import load

    chosen = _read(texts) if texts is not None else None
    report = steering.check(load(model, device=device, dtype=dtype), texts=chosen)
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        print_table(_shown(report), "")
        for tolerance, why in {(row.tolerance, row.why): None for row in report.rows if row.tolerance == row.tolerance}:
            console().print(f"Tolerance {tolerance:.1e}: {why}", style="dim", markup=False, highlight=False)
        console().print(report.verdict, style="green" if report.ok else "red", markup=False, highlight=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(report.to_json() + "\n", encoding="utf-8")
    if not report.ok:
        raise typer.Exit(1)


def _read(path: Path) -> list[str]:
    from lens.examples import Examples

    if path.suffix != ".txt":
        return Examples.from_file(path).texts(response=False)
    if not path.is_file():
        raise DataError(f"No file {str(path)!r}; give a .txt, .csv or .jsonl file.")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{str(path)!r} holds no text; write one per line.")
    return lines


def _shown(report: "CheckReport") -> "pd.DataFrame":
    """The report to read in a terminal: what was compared and how well, or why not."""
    import pandas as pd

    def remark(row: object) -> str:
        status, first, why, what = (getattr(row, name) for name in ("status", "first", "why", "what"))
        return {"pass": what, "fail": f"{what}\nfirst: {first}"}.get(status, why)

    rows = [
        {
            "": row.status,
            "property": row.property,
            "error": row.error,
            "tolerance": row.tolerance,
            "compared, or why not": remark(row),
        }
        for row in report.rows
    ]
    return pd.DataFrame(rows)
