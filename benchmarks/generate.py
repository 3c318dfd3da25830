"""Steered generation: a vector added after one block at every position, against plain `generate` with a hand-written
hook and against peers, each in a process and an environment of its own.

python benchmarks/generate.py        (after `make bench-peers`)

Greedy, prompts of one length, so that nobody pads. "same text" is the share of prompts whose new tokens are those of
the hand-written hook.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from contest import BARE, OURS, Contestant, ContestantError, Generating
from material import model, save, texts
from mixed import label as named
from peers.environments import installed
from report import Row, Tables, arguments, write
from timing import Ratio, interleave, ratio

LAYER, LENGTH, NEW, COUNTS = 1, 16, 32, (1, 8)
SHAPES, QUICK, ROUNDS = ("llama-25M", "gpt2-25M"), ("gpt2-2x64",), 6
FACTOR, TARGET = "time, × the hand-written hook", 1.05


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    verdicts = list[Row]()
    for name in QUICK if quick else SHAPES:
        if only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place, failed = save(name, Path(folder)), list[Row]()
            started = {who: Contestant(who, place) for who in (BARE, OURS, *([] if quick else installed()))}
            ready = {}
            for who, contestant in started.items():
                try:
                    ready[who] = contestant.ready()
                except ContestantError as error:
                    failed.append({"contestant": label(who), "error": str(error)})
            for count in COUNTS:
                caption = f"{name}, {count} prompts of {LENGTH} tokens, {NEW} new tokens"
                rows = contest(ready, _task(name, count), rounds=3 if quick else ROUNDS)
                verdicts.append(verdict(caption, rows))
                yield {"Targets": verdicts, caption: rows + failed}
            for contestant in ready.values():
                contestant.close()


def contest(ready: dict[str, Contestant], task: Generating, *, rounds: int) -> list[Row]:
    """Times and texts of every contestant that can do it, and what the others raised."""
    truth = ready[BARE].result(task, batch=len(task.texts))
    same, failed = dict[str, float](), list[Row]()
    for who, contestant in ready.items():
        try:
            same[who] = float((contestant.result(task, batch=len(task.texts)) == truth).all(dim=1).float().mean())
        except (ContestantError, RuntimeError) as error:
            failed.append({"contestant": label(who), "error": str(error)})
    seconds = interleave({who: partial(_ask, ready[who], task) for who in same}, rounds=rounds)
    rows: list[Row] = [
        {
            "contestant": label(who),
            "CPU ms": 1000 * float(np.median(taken)),
            FACTOR: "1" if who == BARE else ratio(taken, seconds[BARE]),
            "same text": same[who],
        }
        for who, taken in seconds.items()
    ]
    return rows + failed


def verdict(caption: str, rows: list[Row]) -> Row:
    """Ours against the target and against the fastest peer."""
    found = {str(row["contestant"]): row[FACTOR] for row in rows if isinstance(row.get(FACTOR), Ratio)}
    own = found.pop(OURS)
    medians = {who: factor.median for who, factor in found.items() if isinstance(factor, Ratio)}
    fastest = min(medians, key=medians.__getitem__, default=None)
    return {
        f"target: at most {TARGET} × a hand-written hook, and faster than every peer": caption,
        "ours": own,
        "fastest peer": fastest or "none installed",
        "its time": "" if fastest is None else found[fastest],
    }


def label(who: str) -> str:
    return "hand-written hook" if who == BARE else named(who)


def _task(name: str, count: int) -> Generating:
    width = model(name).config.hidden_size
    vector = torch.randn(width, generator=torch.Generator().manual_seed(0))
    return Generating(texts([LENGTH] * count), LAYER, vector.tolist(), NEW)


def _ask(contestant: Contestant, task: Generating) -> float:
    return contestant.ask(task, batch=len(task.texts)).seconds


def main() -> None:
    given = arguments("generate", __doc__.splitlines()[0])
    write("generate", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
