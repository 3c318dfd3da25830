"""The chain as commands: demo, collect, steer."""

import time
from pathlib import Path
from typing import Annotated, Any

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
    Reading,
    ResponseOption,
    Rows,
    SitesOption,
    SpanOption,
    TextOption,
    TruncateOption,
    WhereOption,
    check_unread,
    console,
    print_table,
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for index.html and results.json.")] = Path("reports/demo"),
    seed: Annotated[int, typer.Option(help="Seed of splits, folds, bootstraps and controls.")] = 0,
) -> None:
    """The main job on the embedded organism: honesty and warmth, from texts to measured effect.

    Sweeps layers, chooses layer and strength on validation groups, steers, ablates and edits, reports on test groups.

    Example: [cyan]lens demo --out reports/demo[/cyan]
    """
    from lens.load import load
    from steering.demo import page, run

    start = time.perf_counter()
    model = load("organism")
    stories = run(model, seed=seed, say=lambda text: console(stderr=True).print(text, style="dim"))
    print_table(page.summary(stories), "Results on test groups")
    written = page.write(model, stories, time.perf_counter() - start, out)
    console().print(f"Report: {written}\nNumbers: {out / 'results.json'}")


def collect(
    data: DataOption,
    out: Annotated[Path | None, typer.Option(help="Folder to write the activations to.")] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Or: folder or URL (s3://…) to collect into piece by piece; a killed run goes on from there. "
            "Read it with lens.Store.open(…).activations()."
        ),
    ] = None,
    model: ModelOption = "organism",
    text: TextOption = "prompt",
    label: LabelOption = "label",
    positive: PositiveOption = None,
    group: GroupOption = None,
    response: ResponseOption = None,
    where: WhereOption = None,
    site: SitesOption = None,
    span: SpanOption = "prompt[-1]",
    pool: Annotated[str, typer.Option(help="mean, last or max over the span's tokens, or none: each token.")] = "mean",
    truncate: TruncateOption = None,
    stored_as: Annotated[str, typer.Option(help="Numbers in --store: float32, float16 or bfloat16.")] = "float32",
    workers: Annotated[
        int | None, typer.Option(help="So many processes fill --store together (needs behaviorlens\\[ray]).", min=1)
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster of the workers; by default this machine.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Read activations and save them.

    Example: [cyan]lens collect --data honesty --where cue=role --out acts/honesty[/cyan]

    Example: [cyan]lens collect --model ./my-model --data big.jsonl --store s3://mine/acts --workers 8[/cyan]
    """
    if (out is None) == (store is None):
        raise DataError("Give one place for the activations: --out FOLDER, or --store FOLDER-OR-URL for large ones.")
    rows = Rows(data, text, label, positive, group, response, where)
    reading = Reading(
        model, site, span, pool, device, dtype, truncate, store, stored_as=stored_as, workers=workers, address=address
    )
    acts = reading.collect(rows, unpooled=True)
    if out is not None:
        acts.save(out)
    console().print(f"{acts!r}\nSaved: {out or store}", markup=False, highlight=False)


def steer(
    direction: Annotated[Path, typer.Option(help="A direction saved by lens sweep --direction.")],
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="A prompt; may be repeated.")] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Or: a file or shipped set with prompts.")] = None,
    model: ModelOption = "organism",
    text: TextOption = "prompt",
    where: WhereOption = None,
    rows: Annotated[int, typer.Option(help="How many rows of --data to show.", min=1)] = 8,
    strength: Annotated[
        float, typer.Option(help="How much to add, negative for less of it; with --ablate: the share to remove.")
    ] = 1.0,
    unit: Annotated[
        str | None, typer.Option(help="Of what is added: norm (mean residual norms, the default), difference or raw.")
    ] = None,
    ablate: Annotated[bool, typer.Option("--ablate", help="Mean-ablate instead of adding.")] = False,
    span: Annotated[str, typer.Option(help="Tokens to steer.")] = "prompt[-1]:",
    max_new_tokens: Annotated[int, typer.Option(help="Length of the answers.", min=1)] = 32,
    other_model: Annotated[bool, typer.Option(help="Use a direction that was fitted on another model.")] = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """The same prompts unsteered and steered, side by side, with a random direction of the same norm as control.

    Example: [cyan]lens steer --direction honesty.safetensors --strength -1 --data honesty --where cue=none[/cyan]

    Example: [cyan]lens steer --direction honesty.safetensors --ablate --strength 0.5 -p "is rome in italy ?"[/cyan]
    """
    import pandas as pd

    import steering
    from lens.examples import Examples
    from lens.load import load
    from probes import Direction

    if bool(prompt) == bool(data):
        raise DataError("Give prompts either with --prompt or with --data.")
    if ablate and unit is not None:
        raise DataError(f"--unit {unit} is for what is added; --ablate removes a share, --strength.")
    if not data:
        check_unread("--data", text=text, where=where)
    vector = Direction.load(direction)
    if data:
        examples = Rows(data, text, where=where).load()
        examples = examples.select(range(min(rows, len(examples))))
    else:
        examples = Examples.from_texts(prompt or [])
    loaded = load(model, device=device, dtype=dtype)
    arms: dict[str, Any] = {"unsteered": None}
    if ablate:
        arms[f"ablated × {strength:g}"] = steering.Ablate(vector, strength, span=span)
    else:
        added: Any = unit or "norm"
        arms[f"steered {strength:+g}"] = steering.Add(vector, strength, span=span, unit=added)
        arms["random, same norm"] = steering.Add(vector.random_like(0), strength, span=span, unit=added)
    table = pd.DataFrame({"prompt": examples.texts(response=False)})
    for name, change in arms.items():
        changes = [change] if change is not None else []
        with steering.apply(loaded, *changes, other_model=other_model):
            table[name] = loaded.generate(examples, max_new_tokens=max_new_tokens)
    print_table(table, f"{loaded.name} at {vector.site}")
