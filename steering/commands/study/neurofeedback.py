"""The command study neurofeedback."""

from typing import Annotated

import typer

from lens.errors import DataError
from steering.commands.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    LabelOption,
    ModelOption,
    PositiveOption,
    Rows,
    SitesOption,
    TextOption,
    WhereOption,
    check_unread,
)
from steering.commands.study.shared import OutOption, ResumeOption, SeedOption, check_out, finish

OwnData = Annotated[str | None, DataOption.__metadata__[0]]


def neurofeedback(
    model: ModelOption = "organism",
    data: OwnData = None,
    text: TextOption = "prompt",
    label: LabelOption = "label",
    positive: PositiveOption = None,
    group: GroupOption = None,
    where: WhereOption = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="logistic (of --label), pc (several components), pc3, random; may be repeated."),
    ] = None,
    site: SitesOption = None,
    shots: Annotated[
        str | None, typer.Option(help="Numbers of examples, with commas; by default 0 to 64, as far as they fit.")
    ] = None,
    episodes: Annotated[int | None, typer.Option(help="Reports and experiments for each axis.", min=5)] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Where labels change: median, zero, or an even number of levels.")
    ] = None,
    labels_of: Annotated[
        str | None, typer.Option(help="Another model whose activations give the labels: a folder or hub id.")
    ] = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Whether a model reports, and controls, where its activations lie, told only scores of a few sentences.

    Prints reports beside what the words alone tell, and control of what it writes (explicit) and of sentences put into
    its mouth (implicit). --data holds sentences; by default the organism's own. After Ji-An et al. (2025).

    Example: [cyan]lens study neurofeedback -m organism:neurofeedback --out reports/neurofeedback[/cyan]

    Example: [cyan]lens study neurofeedback -m ./my-model -d sentences.csv --label moral --axis logistic[/cyan]
    """
    from lens.load import load
    from steering.studies import neurofeedback as study
    from steering.studies.neurofeedback.axes import check_axes
    from steering.studies.neurofeedback.labels import levels_of

    check_out(out)
    if data is None:
        check_unread("--data", text=text, group=group, where=where, label=label, positive=positive)
    counts, cut = _numbers(shots), _threshold(threshold)
    if axis:
        check_axes(axis)
    if cut is not None:
        levels_of(cut)
    rows = Rows(data, text, label=label, positive=positive, group=group, where=where) if data is not None else None
    sentences = None if rows is None else rows.load()
    loaded = load(model, device=device, dtype=dtype)
    result = study.run(
        loaded,
        sentences,
        axis,
        shots=counts,
        sites=site or "resid_post",
        episodes=episodes,
        threshold=cut,
        labels=None if labels_of is None else load(labels_of, device=device, dtype=dtype),
        seed=seed,
        resume=resume,
    )
    finish(result, out)


def _numbers(given: str | None) -> list[int] | None:
    try:
        return None if given is None else [int(part) for part in given.split(",")]
    except ValueError:
        raise DataError(
            f"--shots takes whole numbers with commas between them, such as 0,4,16; given: {given!r}."
        ) from None


def _threshold(given: str | None) -> str | int | None:
    return int(given) if given is not None and given.isdigit() else given
