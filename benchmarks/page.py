"""Write docs/benchmarks.md from what the jobs found: every figure stands below the command that made it.

python benchmarks/page.py        (after `make bench`; also part of it)
"""

import argparse
import ast
import json
from pathlib import Path
from typing import Any

from peers.environments import PEERS
from report import REPORTS, ROOT, table

JOBS = ("forward", "mixed", "memory", "scale", "generate", "doses", "edits", "sweep", "erasure", "moments")
OUT = ROOT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

This page is written by `python benchmarks/page.py` from reports/bench/*.json; `make bench-peers` sets the peers up,
each in an environment of its own, and `make bench` runs every command below and writes this page anew.

How to read it. Times are CPU seconds (user and system) of the process that does the work, on one thread. Contestants
are interleaved: every round runs each of them once, in random order, after one round that does not count. A ratio is
the median over rounds of what two contestants took in the same round, with a 95 % bootstrap interval. Models are
random: what is timed does not depend on what they know.
"""


def page(folder: Path) -> str:
    """All jobs that have been run, in order."""
    found = [job for job in JOBS if (folder / f"{job}.json").exists()]
    return "\n\n".join([HEAD.rstrip(), *(section(json.loads((folder / f"{job}.json").read_text())) for job in found),
                        peers()]) + "\n"  # fmt: skip


def section(found: dict[str, Any]) -> str:
    """One job: what it asks (the docstring of its file), its command, its tables."""
    source = (Path(__file__).parent / f"{found['job']}.py").read_text(encoding="utf-8")
    title, _, about = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
    about = about.partition("\n\n")[2]
    parts = [f"## {title.rstrip('.')}", about, f"```\n{found['command']}\n```", f"On {found['machine']}."]
    parts += [f"**{caption}**\n\n{table(rows)}" for caption, rows in found["tables"].items()]
    return "\n\n".join(part for part in parts if part)


def peers() -> str:
    """How each peer was set up."""
    rows = [{"peer": name, "version and how it was set up": peer.note} for name, peer in PEERS.items()]
    return f"## Peers\n\n{table(rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=Path, default=REPORTS)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    given.out.write_text(page(given.reports), encoding="utf-8")


if __name__ == "__main__":
    main()
