"""A progress bar for long work, shown where somebody is looking and never in a log."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

T = TypeVar("T")


def track(work: Iterable[T], *, label: str, total: int, shown: bool = True) -> Iterator[T]:
    """Iterate with a bar that disappears when done."""
    with bar(label, total=total, shown=shown) as advance:
        for item in work:
            yield item
            advance(1)


@contextmanager
def bar(label: str, *, total: float, shown: bool = True, unit: str = "") -> Iterator[Callable[[float], None]]:
    """A bar to be advanced by hand: `with bar("Collecting", total=n) as advance: advance(k)`.

    unit: show how many of these are done per second.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # Without ipywidgets, rich warns at every update in Jupyter; no bar is better.
    in_jupyter = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    if not (shown and (console.is_terminal or in_jupyter)):
        yield lambda amount: None
        return
    with Progress(*_columns(unit), console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda amount: progress.advance(task, amount)


def _columns(unit: str) -> "list[ProgressColumn]":
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class PerSecond(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else "")

    shown: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    return [*shown, *([PerSecond()] if unit else []), TimeRemainingColumn()]
