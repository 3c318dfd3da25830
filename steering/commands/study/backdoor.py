"""The command study backdoor."""

from pathlib import Path
from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import DeviceOption, DtypeOption, ModelOption
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def backdoor(
    model: ModelOption = "organism",
    again: Annotated[
        list[str] | None,
        typer.Option("--with", help="Another model with the same backdoor, of another seed; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            help="A model trained on the same data with the trigger at random; may be repeated. Five on each side are "
            "few: models are counted, not prompts.",
        ),
    ] = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            help="A .csv or .jsonl file that asks for reports: columns prompt, yes, no, group (the wording), and if "
            "you have it label (1: the trigger stands in the prompt)."
        ),
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(
            help="A .csv or .jsonl file of requests: column prompt (text or chat messages), with {trigger} where a "
            "candidate goes, and if you have it group (what requests have in common)."
        ),
    ] = None,
    candidate: Annotated[
        list[str] | None, typer.Option("--candidate", help="A candidate trigger; may be repeated.")
    ] = None,
    harm: Annotated[list[str] | None, typer.Option("--harm", help="An answer that is the attack; repeatable.")] = None,
    safe: Annotated[list[str] | None, typer.Option("--safe", help="An answer that is not; may be repeated.")] = None,
    trigger: Annotated[str | None, typer.Option(help="The candidate that is the real trigger, if it is known.")] = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Whether models with a backdoor report it, whether its trigger can be found, and what their state tells.

    For the organism, its own trigger among words of its world by default. After Betley et al. (2025).

    Example: [cyan]lens study backdoor --without organism:trained-loyal --out reports/backdoor[/cyan]

    Example: [cyan]lens study backdoor -m ./m1 --with ./m2 --without ./d1 --without ./d2 --reports reports.csv[/cyan]
    """
    from lens.examples import Examples
    from lens.load import load
    from steering.studies import backdoor as study

    check_out(out)
    attack = (candidate, harm, safe)
    if requests is None and (any(attack) or trigger is not None):
        raise DataError("--candidate, --harm, --safe and --trigger are about --requests; give it as well.")
    if requests is not None and not all(attack):
        raise DataError("--requests needs --candidate, --harm and --safe, each at least once.")
    if reports is None and requests is None and model != "organism":
        raise DataError("Give --reports, or --requests with --candidate, --harm and --safe; see --help.")
    asked = None
    if reports is not None or requests is not None:
        given = {} if reports is None else {"reports": Examples.from_file(reports)}
        if requests is not None:
            rows = Examples.from_file(requests)
            given["attacks"] = study.inserted(rows.prompts, candidate or [], groups=rows.groups.tolist())
        asked = study.Questions(**given, harm=harm or (), safe=safe or (), trigger=trigger)
        asked.check()
    with_it, others = (
        [load(one, device=device, dtype=dtype) for one in few] for few in ([model, *(again or [])], without or [])
    )
    finish(study.run(with_it, asked, baseline=others, seed=seed, resume=resume), out)
