"""The command study personas."""

from pathlib import Path
from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    ModelOption,
    Rows,
    TextOption,
    check_unread,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def personas(
    model: ModelOption = "organism",
    cast: Annotated[
        Path | None,
        typer.Option(
            "--personas",
            "-p",
            help="A .csv file of personas: columns persona, line (what is said to make it), and one for each trait "
            "with 1, 0 or -1; a persona with zeros alone is the neutral one.",
        ),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(help="A .csv or .jsonl file: prompt, label (1: harmful), refuse and comply (texts, | between)."),
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(help="A .csv or .jsonl file: prompt, trait, high and low (texts that show it, or its opposite)."),
    ] = None,
    text: TextOption = "prompt",
    group: GroupOption = None,
    tolerance: Annotated[float, typer.Option(help="How near the traits are moved to where the line moves them.")] = 0.1,
    draws: Annotated[int, typer.Option(help="Random directions of each of two kinds.", min=1)] = 199,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Whether steering along a persona's traits does to refusal what saying the persona does, at matched strength.

    Prints whether both rank personas alike, or the other way round, and whether the traits' cosines with refusal tell.
    After Persona Non Grata (2026), as far as it is known.

    Example: [cyan]lens study personas --out reports/personas[/cyan]

    Example: [cyan]lens study personas -m ./my-model -p personas.csv --requests asked.csv --checks checks.csv[/cyan]
    """
    from steering.studies import personas as study

    check_out(out)
    given = [one for one in (cast, requests, checks) if one is not None]
    if len(given) not in (0, 3) or (not given and model != "organism"):
        raise DataError("Give --personas, --requests and --checks together; see --help.")
    if not given:
        check_unread("--requests", text=text, group=group)
    made = None
    if cast is not None and requests is not None and checks is not None:
        told = [
            Rows(one, text, label=label, group=group).load() for one, label in ((requests, "label"), (checks, None))
        ]
        made = study.Cast.of(study.read_personas(cast), *told, seed=seed)
    from lens.load import load

    loaded = load(model, device=device, dtype=dtype)
    finish(study.run(loaded, made, tolerance=tolerance, draws=draws, seed=seed, resume=resume), out)
