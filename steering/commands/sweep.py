"""The command `lens sweep`: from flags, or from a TOML file whose values flags override."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from lens.errors import DataError, available
from lens.spans import Span
from steering.commands.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    LabelOption,
    ModelOption,
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
)
from steering.commands.questions import TokenQuestion, question

PROBES = (
    "Of rows: mean_difference, mass_mean, logistic, lda, ridge, pca, lat, k_sparse, mlp. Of every token of the span, "
    "which they pool themselves: mean, last, max, softmax, attention. Several: with commas, or repeated."
)


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
    classes: Annotated[
        list[str] | None,
        typer.Option(help="Instead of a label: a column whose every value is a class, or several 0/1 columns."),
    ] = None,
    level: Annotated[
        str | None, typer.Option(help="Instead of a label: a column of numbers. Probes: ridge, ordinal.")
    ] = None,
    group: GroupOption = None,
    response: ResponseOption = None,
    where: WhereOption = None,
    site: SitesOption = None,
    span: SpanOption = "prompt[-1]",
    pool: Annotated[
        str | None, typer.Option(help="mean (where not given), last or max over the span's tokens, for probes of rows.")
    ] = None,
    truncate: TruncateOption = None,
    probe: Annotated[list[str] | None, typer.Option("--probe", "--probes", help=PROBES)] = None,
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
        Path | None,
        typer.Option(
            help="Fit the best cell on all rows and save its direction (.safetensors); with --classes a folder."
        ),
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

    One token of many may say it: [cyan]lens sweep --data chats.csv --span prompt --probe max,attention[/cyan]

    Several classes: [cyan]lens sweep --data moods.csv --text said --classes mood --direction moods/[/cyan]

    A graded target: [cyan]lens sweep --data letters.csv --text letter --level warmth --probe ridge,ordinal[/cyan]

    From a file: [cyan]lens sweep --config sweep.toml --jobs 8 --resume runs/sweep[/cyan]
    """
    asked = question(
        probe or [],
        classes or [],
        level,
        folds=folds,
        permutations=permutations,
        seed=seed,
        against=against or (),
        jobs=jobs,
        resume=resume,
    )
    of_tokens = isinstance(asked, TokenQuestion)
    if of_tokens:
        _check_tokens(asked.probes, pool, span)
    if asked.targets and (positive is not None or label != "label"):
        raise DataError("--label and --positive are for two classes; they go with neither --classes nor --level.")
    reading = Reading(model, site, span, "none" if of_tokens else pool or "mean", device, dtype, truncate)
    reading.check(unpooled=of_tokens)
    if asked.targets == ("label",):
        raise DataError("A column 'label' holds 0 and 1 here; give the column of classes or levels another name.")
    read = label if not asked.targets or "label" in asked.targets else None
    examples = Rows(data, text, read, positive, group, response, where).load()
    asked.check(examples)
    acts = reading.collect_from(examples)
    table = asked.sweep(acts)
    asked.show(table, f"{model} on {data}")
    best, name, figure = asked.chosen(table)
    console().print(f"Best: {name} at {best}, {figure}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(out, index=False)
        console().print(f"Table: {out}")
    if direction is not None:
        asked.save(acts, best, name, direction)
        console().print(f"Direction: {direction}")


def _check_tokens(probes: list[str], pool: str | None, span: str) -> None:
    if pool is not None:
        raise DataError(f"--pool {pool} leaves one row of all tokens; {available(probes)} pool the tokens themselves.")
    if (parsed := Span.parse(span)).single and not parsed.onward:
        raise DataError(
            f"--span {span} is one token a row; {available(probes)} weigh several against each other: give --span "
            "prompt, or --span response with --response."
        )
