"""What a job found: tables on the screen, and JSON under reports/bench/, from which docs/benchmarks.md is written."""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from timing import Ratio

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports" / "bench"
Cell = str | int | float | Ratio
Row = Mapping[str, Cell]
Tables = Mapping[str, Sequence[Row]]


def arguments(job: str, about: str) -> argparse.Namespace:
    """`--quick`, `--only` and `--out`, which every job has."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="sizes that only show that it runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cells whose name has this in it")
    parser.add_argument("--out", type=Path, default=None, help=f"where to write {job}.json (reports/bench)")
    return parser.parse_args()


def write(job: str, parts: Iterable[Tables], given: argparse.Namespace) -> None:
    """Print tables as they come, and write them beside what they depend on, each time all so far: a run that is stopped
    leaves what it has found. A quick run does not replace a real one."""
    folder = given.out or (REPORTS / "quick" if given.quick else REPORTS)
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Sequence[Row]] = {}
    options = (" --quick" if given.quick else "") + (f" --only {given.only}" if given.only else "")
    for part in parts:
        tables |= part
        for caption, rows in part.items():
            print(f"\n{caption}\n{table(rows)}", flush=True)
        _write(folder / f"{job}.json", job, options, tables)


def _write(path: Path, job: str, options: str, tables: Tables) -> None:
    found = {
        "job": job,
        "command": f"python benchmarks/{job}.py{options}",
        "machine": machine(),
        "tables": {caption: [{name: shown(cell) for name, cell in row.items()} for row in rows]
                   for caption, rows in tables.items()},
    }  # fmt: skip
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"{cpu}, {os.cpu_count()} cores, one thread; Python {platform.python_version()}, {versions}; {date.today()}"


def table(rows: Sequence[Row]) -> str:
    """As Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([shown(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(cell: Cell) -> str:
    """A number as it is read: three digits that count."""
    if isinstance(cell, int):
        return f"{cell:,}"
    if not isinstance(cell, float):
        return str(cell)
    if cell != 0 and abs(cell) < 1e-3:
        return f"{cell:.0e}"
    return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"
