"""The command study self-prediction: does a model know what it would answer?"""

from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    ModelOption,
    Rows,
    SitesOption,
    TextOption,
    WhereOption,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish


def self_prediction(
    data: DataOption,
    other: Annotated[str, typer.Option(help="The second model: a name, a folder, or a hub id, as --model.")],
    model: ModelOption = "organism",
    text: TextOption = "prompt",
    hypothetical: Annotated[
        str, typer.Option(help="Column with the prompt that asks about the answer to the text.")
    ] = "hypothetical",
    group: GroupOption = None,
    where: WhereOption = None,
    property: Annotated[
        str,
        typer.Option(
            help="Of the answer: answer (all of it), 'first word', 'second word', 'first character' (second, third), "
            "vowel (begins with one), even."
        ),
    ] = "answer",
    options: Annotated[
        str | None,
        typer.Option(help="The answers there are, with commas between; the likeliest is taken. Default: generate one."),
    ] = None,
    spoken: Annotated[
        list[str] | None,
        typer.Option(help="VALUE=WORDS: how a value of the property is said; repeatable. Default: the value itself."),
    ] = None,
    probe: Annotated[str, typer.Option(help="A probe that gives probabilities: logistic or lda.")] = "logistic",
    site: SitesOption = None,
    folds: Annotated[int, typer.Option(help="Folds over groups.", min=3)] = 5,
    samples: Annotated[
        int, typer.Option(help="Sampled answers per question, to say how often it answers what.", min=0)
    ] = 0,
    max_new_tokens: Annotated[int, typer.Option(help="Of a generated answer.", min=1)] = 16,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Does a model know what it would answer better than another that is asked the same, and does it say so?

    Each row has a question and a hypothetical about the answer ("would your answer begin with a vowel?"). Ask about
    questions that neither model was trained on.

    Example: [cyan]lens study self-prediction -m ./a --other ./b -d questions.csv --property vowel --out page[/cyan]

    Example: [cyan]lens study self-prediction -m ./a --other ./b -d q.csv --options red,blue --group topic[/cyan]
    """
    from lens.examples import Examples
    from lens.load import load
    from steering.studies.self_prediction import run
    from steering.studies.self_prediction.answering import property_of

    check_out(out)
    property_of(property)
    said = _said(spoken)
    rows = Rows(data, text, group=group, where=where).load()
    frame = rows.frame
    if hypothetical in frame and hypothetical != "hypothetical":
        frame = frame.assign(hypothetical=frame[hypothetical])
    elif hypothetical not in frame:
        raise DataError(f"--hypothetical {hypothetical!r}: no such column; available: {', '.join(map(str, frame))}.")
    result = run(
        load(model, device=device, dtype=dtype),
        load(other, device=device, dtype=dtype),
        Examples(frame),
        property=property,
        options=None if options is None else options.split(","),
        spoken=said,
        probe=probe,
        sites=site or "resid_post",
        folds=folds,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        resume=resume,
    )
    finish(result, out)


def _said(given: list[str] | None) -> dict[str, str]:
    """Raises DataError: an entry without `=`."""
    said = {}
    for one in given or []:
        value, equals, words = one.partition("=")
        if not equals or not value or not words:
            raise DataError(f"--spoken takes VALUE=WORDS, such as yes=Yes; given: {one!r}.")
        said[value] = words
    return said
