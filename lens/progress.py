"""A progress bar for long work, shown where somebody is looking and never in a log."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def track(work: Iterable[T], *, label: str, total: int, shown: bool = True) -> Iterator[T]:
    """Iterate with a bar that disappears when done."""
    with bar(label, total=total, shown=shown) as advance:
        for item in work:
            yield item
            advance(1)


@contextmanager
def bar(label: str, *, total: float, shown: bool = True) -> Iterator[Callable[[float], None]]:
    """A bar to be advanced by hand: `with bar("Collecting", total=n) as advance: advance(k)`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without ipywidgets, rich warns at every update in Jupyter; no bar is better.
    in_jupyter = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    if not (shown and (console.is_terminal or in_jupyter)):
        yield lambda amount: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda amount: progress.advance(task, amount)
