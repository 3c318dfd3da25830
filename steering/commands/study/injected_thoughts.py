"""The command study injected-thoughts: whether a model notices what is put into its activations."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lens.errors import DataError
from steering.commands.options import DeviceOption, DtypeOption, ModelOption, SitesOption
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def injected_thoughts(
    model: ModelOption = "organism:thought-detector",
    concept: Annotated[
        list[str] | None, typer.Option(help="A word to inject; repeatable. By default 50 everyday nouns.")
    ] = None,
    site: SitesOption = None,
    strengths: Annotated[
        str | None, typer.Option(help="Multiples of the concept's vector, with commas between them (1,2,4,8).")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in each cell of site and strength, over all concepts (50).", min=1)
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="JSON file with the lists trial, which and unrelated, and optionally start, tell, by, …."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of the replies that are sampled (1); 0 is greedy.", min=0)
    ] = None,
    random: Annotated[int, typer.Option(help="Random directions beside each concept.", min=1)] = 10,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Does a model notice a concept that is put into its activations, and can it say which one?

    The model needs a chat template, or questions of its own (--questions). The constructed organisms
    organism:thought-detector, -blind, -parrot and -yes bring theirs. After Lindsey (2025).

    Example: [cyan]lens study injected-thoughts --model organism:thought-yes --out thoughts[/cyan]

    Example: [cyan]lens study injected-thoughts --model Qwen/Qwen3-0.6B --site resid_post.18 --resume run[/cyan]
    """
    from lens.load import load
    from steering.studies import injected_thoughts as study

    check_out(out)
    options: dict[str, Any] = study.of_organism(model) if model.startswith("organism:thought-") else {}
    if questions is not None:
        options["asked"] = study.Questions.load(questions)
    given = {"concepts": concept, "sites": site, "trials": trials, "temperature": temperature}
    options |= {name: value for name, value in given.items() if value is not None}
    if strengths is not None:
        options["strengths"] = _numbers(strengths)
    loaded = load(model, device=device, dtype=dtype)
    finish(study.run(loaded, **options, random_draws=random, seed=seed, resume=resume), out)


def _numbers(given: str) -> list[float]:
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise DataError(
            f"--strengths takes numbers with commas between them, such as 1,2,4; given: {given!r}."
        ) from None
