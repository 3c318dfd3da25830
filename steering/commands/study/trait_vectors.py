"""The command study trait-vectors."""

from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    ModelOption,
    Rows,
    SitesOption,
    TextOption,
    WhereOption,
    check_unread,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def trait_vectors(
    model: ModelOption = "organism",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            help="A .csv or .jsonl file with the columns trait, label (1 and 0: rows that show its two poles; empty: "
            "rows to steer), high and low (the words whose log-odds are the trait's score), and if you have them "
            "response, pair, unseen, level. For the organism, its own by default.",
        ),
    ] = None,
    text: TextOption = "prompt",
    group: GroupOption = None,
    where: WhereOption = None,
    site: SitesOption = None,
    strengths: Annotated[
        str | None, typer.Option(help="Strengths to choose from, with commas, in mean residual norms, e.g. 0.25,0.5,1.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Random directions of either kind.", min=1)] = 499,
    share: Annotated[
        float, typer.Option(help="A specific trait moves no other by more than this share of its own effect.")
    ] = 0.25,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Which traits have a direction, whether it moves the trait, and what else it moves.

    Prints for each trait whether it can be read on new groups, better than from the text; whether its direction moves
    it more than random directions do; and whether it moves others, before and after it is purified. The page adds
    doses, composition, monitoring and suppression. After Persona Vectors, TraitBasis, and Personality as a Probe
    (2025).

    Example: [cyan]lens study trait-vectors --out reports/traits[/cyan]

    Example: [cyan]lens study trait-vectors -m ./my-model -d traits.csv --group scene --site resid_post.8[/cyan]
    """
    from lens.load import load
    from steering.studies import trait_vectors as study

    check_out(out)
    if data is None and model != "organism":
        raise DataError("Give --data with traits: columns trait, label, high and low beside the prompt; see --help.")
    if data is None:
        check_unread("--data", text=text, group=group, where=where)
    traits = None
    if data is not None:
        traits = study.of_table(Rows(data, text, label="label", group=group, where=where, response=None).load())
    chosen = study.STRENGTHS if strengths is None else _numbers(strengths)
    loaded = load(model, device=device, dtype=dtype)
    result = study.run(
        loaded,
        traits,
        sites=site or "resid_post",
        strengths=chosen,
        draws=draws,
        share=share,
        seed=seed,
        resume=resume,
    )
    finish(result, out)


def _numbers(given: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in given.split(","))
    except ValueError:
        raise DataError(
            f"--strengths {given!r}: numbers with commas between them are needed, e.g. 0.25,0.5,1."
        ) from None
