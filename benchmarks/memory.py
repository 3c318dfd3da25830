"""Peak memory of collecting every block of 256 texts of about 190 tokens, mean pooled, against peers.

python benchmarks/memory.py        (after `make bench-peers`)

12 blocks of width 256. Each contestant runs in a fresh process, after eight texts that load what is loaded late; the
figure is the most resident memory during the call over what was resident before it. What the C library keeps between
large allocations counts: small results kept among them stop it from giving memory back, and that is most of what is
held where results are kept batch by batch (`MALLOC_MMAP_THRESHOLD_=1000000` avoids it).
"""

import random
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import get_args

from by_hand import Pool
from contest import BARE, OURS, REFERENCE, Contestant, ContestantError, Task, error_of
from material import model, save, texts
from mixed import label
from peers.environments import installed
from report import Row, Tables, arguments, write
from torch import Tensor

SHAPE, TEXTS, LENGTHS, BATCH = "gpt2-12x256", 256, (180, 200), 16
CHECKED = 32
OVER_BARE, OVER_PEERS = 1.1, 0.5
PEAK = "peak over start, MB"


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    shape, count = ("gpt2-2x64", 8) if quick else (SHAPE, TEXTS)
    rng = random.Random(0)
    prompts = texts([rng.randint(*LENGTHS) for _ in range(count)])
    layers = range(model(shape).config.num_hidden_layers)
    names = [BARE, OURS, *(name for name in ([] if quick else installed()) if only in name)]
    with tempfile.TemporaryDirectory() as folder:
        place = save(shape, Path(folder))
        reference = Contestant(REFERENCE, place).ready()
        truths = {pool: reference.result(Task(prompts[:CHECKED], layers, pool), batch=1) for pool in get_args(Pool)}
        reference.close()
        # All at once: what one process holds does not depend on the others.
        with ThreadPoolExecutor(len(names)) as threads:
            rows = list(
                threads.map(partial(measured, place=place, prompts=prompts, layers=layers, truths=truths), names)
            )
    peaks = {name: row[PEAK] for name, row in zip(names, rows, strict=True) if PEAK in row}
    caption = (
        f"{shape}, {count} texts of {LENGTHS[0]} to {LENGTHS[1]} tokens, in batches of {BATCH} where that is given"
    )
    yield {"Targets": verdicts(peaks), caption: rows}


def measured(name: str, *, place: Path, prompts: list[str], layers: Sequence[int], truths: dict[Pool, Tensor]) -> Row:
    """One contestant, in a process of its own; the error is that of the first texts."""
    try:
        contestant = Contestant(name, place).ready()
        pool: Pool = "mean" if "mean" in contestant.pools else "last"
        contestant.ask(Task(prompts[:8], layers, pool), batch=BATCH)
        answer = contestant.ask(Task(prompts, layers, pool), batch=BATCH)
        found = contestant.result(Task(prompts[:CHECKED], layers, pool), batch=BATCH)
        contestant.close()
    except ContestantError as error:
        return {"contestant": label(name), "error": str(error)}
    return {
        "contestant": label(name),
        "pool": pool,
        "CPU s": answer.seconds,
        PEAK: answer.bytes / 1e6,
        "error": error_of(found, truths[pool]),
    }


def verdicts(peaks: dict[str, float]) -> list[Row]:
    """Against hand-written pooling, and against the leanest peer."""
    rivals = [peak for name, peak in peaks.items() if name not in (OURS, BARE)]
    found = {
        f"at most {OVER_BARE} × hand-written pooling in hooks": (peaks[OURS] / peaks[BARE], OVER_BARE),
        f"at most {OVER_PEERS} × the leanest peer": (peaks[OURS] / min(rivals, default=float("nan")), OVER_PEERS),
    }
    return [
        {"target": target, "found": f"{ratio:.2f}", "met": "yes" if ratio <= limit else "no"}
        for target, (ratio, limit) in found.items()
    ]


def main() -> None:
    given = arguments("memory", __doc__.splitlines()[0])
    write("memory", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
