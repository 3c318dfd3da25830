"""The command study self-knowledge."""

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
    WhereOption,
    check_unread,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def self_knowledge(
    model: ModelOption = "organism",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            help="A .csv or .jsonl file of questions: columns right (a text) and wrong (texts with | between them; in "
            "JSON a list), and if you have them unsure, sure, topic, context. For the organism, its own by default.",
        ),
    ] = None,
    text: TextOption = "prompt",
    group: GroupOption = None,
    where: WhereOption = None,
    other: Annotated[
        str | None, typer.Option(help="Another model, a folder or hub id, that is asked the same.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(help="Ask P(True) of answers, too, after so many examples.", min=0)
    ] = None,
    again: Annotated[bool, typer.Option(help="Ask every question again after each first answer (CL, CS, RSS).")] = True,
    folds: Annotated[int, typer.Option(help="Folds of P(IK); groups stay whole.", min=2)] = 5,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """What a model knows, whether its state tells so before it answers, and whether it says so.

    Prints P(IK) on held-out groups beside what the text alone tells, and whether stated confidence goes with what is
    known; the page shows calibration and what asking again changes. After Kadavath et al. (2022).

    Example: [cyan]lens study self-knowledge --out reports/knowing[/cyan]

    Example: [cyan]lens study self-knowledge -m ./my-model -d questions.csv --group entity --shots 4[/cyan]
    """
    from lens.load import load
    from steering.studies import self_knowledge as study

    check_out(out)
    if data is None and model != "organism":
        raise DataError("Give --data with questions: columns right and wrong beside the prompt; see --help.")
    if data is None:
        check_unread("--data", text=text, group=group, where=where)
    questions = None if data is None else Rows(data, text, group=group, where=where).load()
    if questions is not None:
        study.Questions.of(questions)
    loaded = load(model, device=device, dtype=dtype)
    compared = None if other is None else load(other, device=device, dtype=dtype)
    result = study.run(
        loaded, questions, other=compared, shots=shots, again=again, folds=folds, seed=seed, resume=resume
    )
    finish(result, out)
