"""The command study evaluation-awareness."""

from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    LabelOption,
    ModelOption,
    PositiveOption,
    Rows,
    TextOption,
    WhereOption,
    check_unread,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def evaluation_awareness(
    model: ModelOption = "organism",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            help="A .csv or .jsonl file of prompts: label (1: a test, 0: deployment), format, and if you have them cue "
            "and format_cue (the words that tell), careful and careless (texts, | between). For the organism, its own.",
        ),
    ] = None,
    text: TextOption = "prompt",
    label: LabelOption = "label",
    positive: PositiveOption = None,
    group: GroupOption = None,
    where: WhereOption = None,
    draws: Annotated[int, typer.Option(help="Random directions of each of two kinds.", min=1)] = 99,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Whether it can be read in a model that a prompt is a test, whatever it looks like, and whether it acts on it.

    Prints a probe on new cues and formats beside what the text alone tells, what behaviour follows, and what steering
    away from tests does beside random directions. After Nguyen et al. (2025) and Devbunova (2026).

    Example: [cyan]lens study evaluation-awareness --out reports/tested[/cyan]

    Example: [cyan]lens study evaluation-awareness -m ./my-model -d prompts.csv --group request[/cyan]
    """
    from steering.studies import evaluation_awareness as study

    check_out(out)
    if data is None and model != "organism":
        raise DataError("Give --data with prompts: columns label and format beside the prompt; see --help.")
    if data is None:
        check_unread("--data", text=text, group=group, where=where, label=label, positive=positive)
    rows = None
    if data is not None:
        rows = Rows(data, text, label=label, positive=positive, group=group, where=where).load()
        study.Design.of(rows, seed=seed)
    from lens.load import load

    loaded = load(model, device=device, dtype=dtype)
    finish(study.run(loaded, rows, draws=draws, seed=seed, resume=resume), out)
