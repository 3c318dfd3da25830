"""The command `lens sweep`: from flags, or from a TOML file whose values flags override."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lens.errors import DataError, available
from steering.commands.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    LabelOption,
    ModelOption,
    PoolOption,
    PositiveOption,
    Reading,
    ResponseOption,
    Rows,
    SitesOption,
    SpanOption,
    TextOption,
    TruncateOption,
    WhereOption,
    console,
    print_table,
)

if TYPE_CHECKING:
    import pandas as pd


# Typer passes a context that is no `typer.Context`, by position where it is not annotated as one.
def _from_file(context: Any, path: Path | None) -> Path | None:
    """Take the options' defaults from a file. Raises DataError: no readable TOML, or a name that is no option."""
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"--config {path}: no readable TOML file ({error}).") from None
    given = {name.replace("-", "_"): value for name, value in given.items()}
    known = {parameter.name: parameter for parameter in context.command.params if parameter.name != "config"}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise DataError(f"--config {path}: no option {unknown[0]!r}; available: {available(known, len(known))}.")
    several = {name for name, parameter in known.items() if parameter.multiple}
    for name, value in given.items():
        if isinstance(value, dict) or isinstance(value, list) != (name in several):
            kind = "a list" if name in several else "one value"
            raise DataError(f"--config {path}: {name} takes {kind}; given: {value!r}.")
    context.default_map = given
    return path


def sweep(
    data: DataOption,
    model: ModelOption = "organism",
    text: TextOption = "prompt",
    label: LabelOption = "label",
    positive: PositiveOption = None,
    group: GroupOption = None,
    response: ResponseOption = None,
    where: WhereOption = None,
    site: SitesOption = None,
    span: SpanOption = "prompt[-1]",
    pool: PoolOption = "mean",
    truncate: TruncateOption = None,
    probe: Annotated[list[str] | None, typer.Option(help="mean_difference, logistic, lda, …; may be repeated.")] = None,
    folds: Annotated[int, typer.Option(help="Grouped cross-validation folds.", min=2)] = 5,
    permutations: Annotated[int, typer.Option(help="Label permutations; p cannot fall below 1/(n+1).", min=0)] = 20,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Column that must not be mistaken for the label, e.g. format; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of folds, bootstraps and controls.")] = 0,
    jobs: Annotated[int | None, typer.Option(help="Processes to sweep with; -1 for one a core.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder that keeps finished cells; a killed sweep goes on from there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table, every control in it, to this .csv file.")] = None,
    direction: Annotated[
        Path | None, typer.Option(help="Fit the best cell on all rows and save its direction (.safetensors).")
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with any of these options by name (probe = ['lda', 'logistic']); flags come first.",
            callback=_from_file,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Probe every layer: grouped folds, intervals, and the baselines a probe has to beat.

    Example: [cyan]lens sweep --data honesty --where cue=role --direction honesty.safetensors[/cyan]

    Example: [cyan]lens sweep --model ./my-model --data cities.csv --text statement --group city[/cyan]

    Example: [cyan]lens sweep --config sweep.toml --jobs 8 --resume runs/sweep[/cyan]
    """
    import probes

    rows = Rows(data, text, label, positive, group, response, where)
    acts = Reading(model, site, span, pool, device, dtype, truncate).collect(rows)
    table = probes.sweep(
        acts,
        probe or ["mean_difference", "logistic"],
        folds=folds,
        permutations=permutations,
        against=against or (),
        seed=seed,
        jobs=jobs,
        resume=resume,
    )
    print_sweep(table, f"{model} on {data}")
    chosen = probes.best(table)
    console().print(f"Best: {chosen.probe} at {chosen.site}, out-of-fold AUROC {chosen.auroc:.3f}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False)
        console().print(f"Table: {out}")
    if direction is not None:
        probes.fit(acts, chosen.site, chosen.probe).direction.save(direction)
        console().print(f"Direction: {direction}")


def print_sweep(table: "pd.DataFrame", title: str) -> None:
    """A sweep table to read: intervals in one column, what is the same in every row below the table."""
    import pandas as pd

    def interval(value: str, low: str, high: str) -> list[str]:
        three = zip(table[value], table[low], table[high], strict=True)
        return [f"{middle:.2f} ({bottom:.2f}–{top:.2f})" for middle, bottom, top in three]

    rows = {"site": table["site"], "probe": table["probe"], "AUROC": interval("auroc", "low", "high")}
    if "within" in table:
        rows["AUROC within"] = interval("within", "within_low", "within_high")
    rows |= {
        "p": table["p"],
        "random": [f"<{high:.2f}" for high in table["random_high"]],
        "matched": [f"<{high:.2f}" for high in table["matched_high"]],
        "top PC": table["components"].round(2),
        "shuffled": table["shuffled"].round(2),
    }
    print_table(pd.DataFrame(rows), title)
    first = table.iloc[0]
    names = {
        "bag_of_words": "bag of words",
        "char_ngrams": "character n-grams",
        "length": "length",
        "punctuation": "punctuation",
    }
    text = ", ".join(f"{label} {first[column]:.2f}" for column, label in names.items())
    console().print(f"Text only: {text}. {first['n']} rows in {first['groups']} groups.", highlight=False)
    console().print(
        "random, matched: 95 % of random directions are below (matched: with the variances of the activations). "
        "top PC: the best of ten principal components. --out writes all columns.",
        highlight=False,
        style="dim",
    )
