"""What the commands share: their options, how rows and models are found, and how tables are printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lens.errors import DataError, available

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from lens.activations import Activations
    from lens.examples import Examples

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="'organism' (ships with the package), a folder, or a hub id.")
]
DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        help="A .csv or .jsonl file, the name of a shipped set such as 'honesty', or FORMAT:FILE for a public format "
        "(anthropic, bbq, caa, …), FORMAT-ask:FILE for its questions with right and wrong answers.",
    ),
]
TextOption = Annotated[str, typer.Option(help="Column with the text or the chat messages.")]
LabelOption = Annotated[str, typer.Option(help="Column with the label.")]
PositiveOption = Annotated[
    str | None, typer.Option(help="The label's value that is the behaviour, where labels are not 0/1.")
]
GroupOption = Annotated[
    str | None, typer.Option(help="Column that must not be split across train and test (default: the row).")
]
ResponseOption = Annotated[str | None, typer.Option(help="Column with the response, if there is one.")]
WhereOption = Annotated[list[str] | None, typer.Option("--where", help="Keep rows with COLUMN=VALUE; may be repeated.")]
SpanOption = Annotated[
    str, typer.Option(help="Tokens to read: prompt, response or all, with Python's slices, e.g. 'prompt[-1]'.")
]
PoolOption = Annotated[str, typer.Option(help="mean, last or max over the span's tokens.")]
TruncateOption = Annotated[
    str | None, typer.Option(help="Cut texts longer than the context at their left (after BOS) or right end.")
]
SitesOption = Annotated[
    list[str] | None, typer.Option("--site", help="resid_post (every layer), resid_post.2, …; may be repeated.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, …; by default a GPU where there is one.")]
DtypeOption = Annotated[str, typer.Option(help="auto (the checkpoint's own), float32, bfloat16, float16.")]


MANY = 40


# What options that name columns are where they are not given; others are None.
UNTOUCHED = {"text": "prompt", "label": "label"}


@dataclass(frozen=True)
class Rows:
    """Which rows a command works on, as asked for on the command line."""

    data: str
    text: str = "prompt"
    label: str | None = None
    positive: str | None = None
    group: str | None = None
    response: str | None = None
    where: Sequence[str] | None = None

    def load(self) -> "Examples":
        """The rows of a file or of a shipped set. Raises DataError: neither, a missing column, or no row left."""
        from lens import data as shipped
        from lens import formats
        from lens.examples import Examples

        name, colon, file = self.data.partition(":")
        if colon and name.removesuffix("-ask") in formats.names():
            made = formats.load(file, name.removesuffix("-ask"), rows="ask" if name.endswith("-ask") else "read")
            examples = self._named(made)
        elif self.data in shipped.names():
            examples = self._named(shipped.load(self.data))
        elif not Path(self.data).suffix:
            raise DataError(
                f"No data set {self.data!r}; shipped: {available(shipped.names())}; or give a .csv or .jsonl file, or "
                f"FORMAT:FILE with a format of {available(formats.names())}."
            )
        else:
            examples = Examples.from_file(
                self.data,
                text=self.text,
                label=self.label,
                positive=self.positive,
                group=self.group,
                response=self.response,
            )
        for condition in self.where or []:
            examples = _keep(examples, condition)
        return examples

    def _named(self, made: "Examples") -> "Examples":
        """Rows that know their columns, with other ones for them where such are asked for."""
        from lens.examples import Examples

        label = self.label if self.label is not None or self.positive is None else "label"
        asked = self.text != "prompt" or label not in (None, "label") or self.positive or self.group or self.response
        if not asked:
            return made
        # Without a name for it, the column that is there stays what it is.
        return Examples.from_frame(
            made.frame,
            text=self.text,
            label=label or "label",
            positive=self.positive,
            group=self.group,
            response=self.response,
        )


def _keep(examples: "Examples", condition: str) -> "Examples":
    column, equals, value = condition.partition("=")
    if not equals:
        raise DataError(f"--where takes COLUMN=VALUE; given: {condition!r}.")
    if column not in examples.frame:
        raise DataError(f"No column {column!r}; available: {available(examples.frame.columns)}.")
    found = examples.frame[column].astype(str) == value
    if not found.any():
        raise DataError(f"No row with {condition}; available: {available(examples.frame[column].unique())}.")
    return examples.select(found.to_numpy())


@dataclass(frozen=True)
class Reading:
    """Where and how activations are read, as asked for on the command line."""

    model: str
    site: Sequence[str] | None
    span: str
    pool: str
    device: str | None
    dtype: str
    truncate: str | None = None
    store: str | None = None
    stored_as: str = "float32"
    workers: int | None = None
    address: str | None = None

    def collect(self, rows: Rows, *, unpooled: bool = False) -> "Activations":
        """Load rows and model, in that order: a mistake in the file is told before a model is loaded."""
        self.check(unpooled=unpooled)
        return self.collect_from(rows.load())

    def check(self, *, unpooled: bool = False) -> None:
        """Raises DataError: a word that is none of those that there are. SpanError: a span that is none."""
        from lens.spans import Span

        _check("pool", self.pool, ["mean", "last", "max", *(["none"] if unpooled else [])])
        _check("--truncate", self.truncate, [None, "left", "right"])
        _check("--stored-as", self.stored_as, ["float32", "float16", "bfloat16"])
        Span.parse(self.span)

    def collect_from(self, examples: "Examples") -> "Activations":
        """Load the model and read these rows."""
        import lens

        model = lens.load(self.model, device=self.device, dtype=self.dtype)
        return lens.collect(
            model,
            examples,
            sites=list(self.site or ["resid_post"]),
            span=self.span,
            pool=self.pool,  # type: ignore[arg-type]
            truncate=self.truncate,  # type: ignore[arg-type]
            store=self.store,
            dtype=self.stored_as,  # type: ignore[arg-type]
            workers=self.workers,
            address=self.address,
        )


def _check(name: str, given: str | None, choices: Sequence[str | None]) -> None:
    if given not in choices:
        raise DataError(f"Unknown {name} {given!r}; available: {available(choice for choice in choices if choice)}.")


def check_unread(needs: str, **given: Any) -> None:
    """Raises DataError where an option is given that nothing would read. needs: what it is about, and is not given."""
    for name, value in given.items():
        if value != UNTOUCHED.get(name) and value != []:
            raise DataError(f"--{name} {_spelled(value)} is about {needs}, which is not given.")


def _spelled(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def console(*, stderr: bool = False) -> "Console":
    """Results go to stdout, everything else to stderr."""
    from rich.console import Console

    return Console(stderr=stderr)


def print_table(frame: "pd.DataFrame", title: str) -> None:
    """Print a table, which may be empty; text of models and files is shown as it is, never as markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title,
        title_justify="left",
        show_lines=len(frame) < MANY
        and any(len(str(cell)) > 30 for row in frame.head(1).itertuples(index=False) for cell in row),
    )
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_shown(cell)) for cell in row))
    console().print(table)


def _shown(cell: Any) -> str:
    if cell is None or cell != cell:
        return "–"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
