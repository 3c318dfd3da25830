"""LEACE against concept-erasure 0.2.4 (shrinkage=False): CPU time to fit, and how far the two erasers lie apart.

python benchmarks/erasure.py [--rows 1000] [--width 4096] [--classes 2] [--rounds 2]
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from concept_erasure import LeaceEraser
from threadpoolctl import threadpool_limits
from timing import cpu_seconds, interleave, ratio

import lens
import probes

SITE = lens.Site("resid_post", 0)
# Rows that no eraser was fitted on.
FRESH = 200


def states(rows: int, width: int, classes: int) -> tuple[torch.Tensor, np.ndarray]:
    """Float32 states with a falling spectrum (scale ∝ rank^(-1/2)), as a residual stream has, and a mean per class."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, classes, rows)
    scale = np.arange(1, width + 1) ** -0.5
    X = (rng.standard_normal((rows, width)) + 0.3 * rng.standard_normal((classes, width))[codes]) * scale + 1
    return torch.from_numpy(X).float(), codes


def collected(X: torch.Tensor, codes: np.ndarray) -> lens.Activations:
    frame = pd.DataFrame({"prompt": [str(row) for row in range(len(X))], "topic": codes})
    table = lens.Examples(frame)
    source = lens.activations.Source("made", "made", "prompt[-1]", "mean", table.hash(), {})
    return lens.Activations({SITE: X}, {SITE: X.norm(dim=1)}, table, source)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rows", 1000), ("width", 4096), ("classes", 2), ("rounds", 2)):
        ask.add_argument(f"--{name}", type=int, default=default)
    given = ask.parse_args()
    X, codes = states(given.rows + FRESH, given.width, given.classes)
    fresh, train, known = X[given.rows :].double(), X[: given.rows], codes[: given.rows]
    acts, one_hot = collected(train, known), torch.nn.functional.one_hot(torch.from_numpy(known))
    made = {}

    def ours() -> None:
        made["ours"] = probes.erase(acts, SITE, by="topic")

    def theirs() -> None:
        made["theirs"] = LeaceEraser.fit(train.double(), one_hot.double(), shrinkage=False)

    torch.set_num_threads(1)
    with threadpool_limits(1):
        began = time.perf_counter()
        runs = {"behaviorlens": lambda: cpu_seconds(ours), "concept-erasure": lambda: cpu_seconds(theirs)}
        seconds = interleave(runs, rounds=given.rounds)
    apart = (made["ours"](fresh) - made["theirs"](fresh)).norm() / fresh.norm()
    moved = (made["ours"](fresh) - fresh).norm() / fresh.norm()
    print(f"n = {given.rows}, d = {given.width}, {given.classes} classes, float64, one thread, {given.rounds} rounds")
    for name, taken in seconds.items():
        print(f"{name:16} {np.median(taken):8.2f} CPU s")
    print(f"concept-erasure / behaviorlens: {ratio(seconds['concept-erasure'], seconds['behaviorlens'])}")
    print(f"apart on fresh rows: {apart:.1e} of their norm (erasing moves them by {moved:.1e})")
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
