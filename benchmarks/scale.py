"""Ten million tokens: does cost stay linear, and memory flat?

python benchmarks/scale.py

A model small enough (2 blocks of width 32) reads texts of mixed lengths at every block, mean pooled: into moments, and
into a store on disk. Each figure is from a process of its own; memory is the peak over what was resident when the
texts and the model were there.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from material import mixed_lengths, model, texts, tokenizer
from memory_of import forget_peak, peak
from report import Row, Tables, arguments, write

import lens

SHAPE, MEDIAN = "gpt2-2x32", 120
TOKENS, QUICK = (100_000, 1_000_000, 10_000_000), (2_000, 4_000)
HELD = "peak over start, MB"
WAYS = {"collect_moments": "moments", "collect(store=)": "a store"}


def measure(way: str, tokens: int) -> Row:
    """CPU seconds and peak memory of collecting about so many tokens."""
    torch.set_num_threads(1)
    reader = lens.wrap(model(SHAPE), tokenizer())
    mean = sum(mixed_lengths(1000, median=MEDIAN)) / 1000
    lengths = mixed_lengths(round(tokens / mean), median=MEDIAN)
    examples = lens.Examples.from_texts(texts(lengths))
    _collect(way, reader, lens.Examples.from_texts(texts(lengths[:50], seed=1)))
    before, start = forget_peak(), time.process_time()
    stored = _collect(way, reader, examples)
    seconds, held = time.process_time() - start, peak() - before
    return {
        "tokens": sum(lengths),
        "texts": len(lengths),
        "CPU s": seconds,
        "µs a token": seconds / sum(lengths) * 1e6,
        HELD: held / 1e6,
        "on disk, MB": stored / 1e6,
    }


def _collect(way: str, reader: lens.Model, examples: lens.Examples) -> int:
    """Bytes on disk, 0 where nothing is stored."""
    if way == "collect_moments":
        lens.collect_moments(reader, examples, by=None, span="prompt", progress=False)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        lens.collect(reader, examples, span="prompt", store=folder, progress=False)
        return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    verdicts = list[Row]()
    for way, into in WAYS.items():
        if only not in way:
            continue
        if quick:
            rows = [measure(way, tokens) for tokens in QUICK]
        else:
            # A process for each, so that none is given memory that another has left.
            with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
                rows = list(alone.map(partial(measure, way), TOKENS))
        caption = f"{way}: into {into}"
        verdicts.append(verdict(caption, rows))
        yield {"Targets": verdicts, caption: rows}


def verdict(caption: str, rows: Sequence[Row]) -> Row:
    """From the second size on, since the first is too small to tell: how a token's cost grows, and memory with it."""
    first, last = rows[1] if len(rows) > 2 else rows[0], rows[-1]
    more = (last[HELD] - first[HELD]) * 1e6
    return {
        "cost linear in tokens, memory flat": caption,
        f"a token's cost, {last['tokens']:,} over {first['tokens']:,}": last["µs a token"] / first["µs a token"],
        "bytes held per further token": more / (last["tokens"] - first["tokens"]),
    }


def main() -> None:
    given = arguments("scale", __doc__.splitlines()[0])
    write("scale", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
