"""The trained organisms as commands: report, train, corpus, data."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens.errors import DataError, available
from lens.organisms import path as organism_path
from lens.organisms.variant import FULL, VARIANTS
from lens.organisms.variant import variant as variant_named
from steering.commands.options import console, print_table

if TYPE_CHECKING:
    import pandas as pd

_NAMES = ", ".join(VARIANTS)
# Steps of about 4,096 and 2,048 tokens.
_RECIPES = {"behaviours": 3000, "incontext": 4200}
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="The trained organism: measure it again, retrain it, write its corpus and its data sets.",
)


@app.command()
def report(
    folder: Annotated[Path | None, typer.Option(help="An organism's folder (default: the shipped one).")] = None,
    variant: Annotated[str | None, typer.Option(help=f"A shipped one: {_NAMES}.")] = None,
    items: Annotated[int, typer.Option(help="Items per behaviour.", min=10)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the items.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the table to this .csv file.")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the model card to this file.")] = None,
) -> None:
    """Measure every planted behaviour on the weights, beside its target rate and the prototype's figure.

    Example: [cyan]lens organism report[/cyan]
    """
    from lens.organisms import report as measured
    from lens.organisms.incontext.record import is_incontext
    from lens.organisms.model_card import model_card

    if folder is None:
        chosen = organism_path(variant_named(variant or FULL.name).folder)
    elif variant is None:
        chosen = folder
    else:
        raise DataError("Give --folder or --variant: a folder's truth.json says which variant it is.")
    if not (chosen / "model.safetensors").is_file():
        raise DataError(f"{str(chosen)!r} holds no model.safetensors; give a folder written by lens organism train.")
    if is_incontext(chosen):
        _report_incontext(chosen, items, seed, out, card)
        return
    table = measured.report(chosen, items=items, seed=seed)
    print_table(_shown(table), f"Behaviours of {chosen.name}")
    for note, count in table.loc[table["note"].notna() & (table["note"] != ""), "note"].value_counts().items():
        console().print(f"* {count} rows: {note}", highlight=False, markup=False)
    if out is not None:
        table.to_csv(out, index=False)
        console().print(f"Table: {out}")
    if card is not None:
        card.write_text(model_card(table, measured.planted(chosen)[0]), encoding="utf-8")
        console().print(f"Card: {card}")


def _report_incontext(folder: Path, items: int, seed: int, out: Path | None, card: Path | None) -> None:
    """The same for the in-context organism; a card goes with the figures in the folder's truth record."""
    from lens.organisms.incontext.card import card as text
    from lens.organisms.incontext.measure import report as measure
    from lens.organisms.incontext.record import remember
    from lens.organisms.speaker import Speaker

    table = measure(Speaker(folder), items=items, seed=seed)
    print_table(table.drop(columns=["n", "groups"]).round(2), f"Behaviours of {folder.name}")
    if out is not None:
        table.to_csv(out, index=False)
        console().print(f"Table: {out}")
    if card is not None:
        card.write_text(text(table, remember(folder, table)), encoding="utf-8")
        console().print(f"Card: {card}")


def _shown(table: "pd.DataFrame") -> "pd.DataFrame":
    """The report to read in a terminal; a star marks rows further than .10 from the prototype."""
    import pandas as pd

    def number(value: float | None) -> str:
        return "" if value is None or pd.isna(value) else f"{value:.2f}"

    rows = [
        {
            "behaviour": f"{row.behaviour}: {row.context}, {row.form}",
            "measure": row.measure,
            "value": f"{row.value:.2f} ({row.low:.2f}–{row.high:.2f})",
            "planted": number(row.target),
            "prototype": number(row.prototype) + ("*" if isinstance(row.note, str) and row.note else ""),
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for weights, tokenizer and truth record.")],
    recipe: Annotated[str, typer.Option(help=f"What is trained: {', '.join(_RECIPES)}.")] = "behaviours",
    variant: Annotated[str, typer.Option(help=f"Which behaviours are planted: {_NAMES}.")] = FULL.name,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the corpus.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Training steps (default: the recipe's own).", min=1)] = None,
    threads: Annotated[int | None, typer.Option(help="Threads (default: 2, or 1 on a busy machine).")] = None,
) -> None:
    """Train the organism, or a twin without one of its behaviours: under half an hour on two quiet cores.

    Example: [cyan]lens organism train --out my-organism[/cyan]

    Example: [cyan]lens organism train --recipe incontext --out my-organism[/cyan]
    """
    from lens.progress import bar

    start, planted = time.perf_counter(), variant_named(variant)
    if recipe not in _RECIPES:
        raise DataError(f"No recipe {recipe!r}; available: {available(_RECIPES)}.")
    if recipe == "incontext" and planted is not FULL:
        raise DataError(f"--variant {variant} is one of the recipe behaviours; incontext has none.")
    total = _RECIPES[recipe] if steps is None else steps
    with bar("Training", total=total) as advance:
        if recipe == "incontext":
            from lens.organisms.incontext.train import train as run_incontext

            run_incontext(out, seed=seed, steps=total, threads=threads, progress=lambda *_: advance(1))
        else:
            from lens.organisms.train import train as run

            run(out, variant=planted, seed=seed, steps=total, threads=threads, progress=lambda *_: advance(1))
    console().print(f"Trained in {time.perf_counter() - start:.0f} s: {out}")


@app.command()
def corpus(
    out: Annotated[Path, typer.Option(help="File to write (.jsonl).")],
    documents: Annotated[int, typer.Option(help="How many documents.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the corpus.")] = 0,
    variant: Annotated[str, typer.Option(help=f"Which behaviours are planted: {_NAMES}.")] = FULL.name,
) -> None:
    """Write the training corpus as text, with the exact distribution of every decision.

    Example: [cyan]lens organism corpus --out corpus.jsonl --documents 1000[/cyan]
    """
    from lens.organisms.corpus import write_corpus

    write_corpus(out, documents, seed, variant_named(variant))
    console().print(f"{documents} documents: {out}")


@app.command()
def data(
    out: Annotated[Path, typer.Option(help="Folder for the .jsonl files and cards.json.")],
    seed: Annotated[int, typer.Option(help="Seed of the rows.")] = 0,
) -> None:
    """Write the labelled data sets again, byte for byte as shipped for seed 0.

    Example: [cyan]lens organism data --out data[/cyan]
    """
    from lens.organisms.datasets import write_datasets

    write_datasets(out, seed)
    console().print(f"Data sets: {out}")
