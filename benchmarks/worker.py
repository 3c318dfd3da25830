"""One contestant in a process of its own: reads requests as JSON lines, answers each with a JSON line.

python benchmarks/worker.py CONTESTANT FOLDER

Started by `contest.py`. A request is `{"call": "collect", "files": {"texts": PATH}, "given": {"layers": [...], "pool":
"last", "batch": 16}, "save": PATH}`: the contestant's function of that name is called with what the JSON files hold and
with what is given. The answer has `seconds` (CPU, of this process), and `bytes`: the most memory held during the call
over what was held before it.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from memory_of import forget_peak, peak
from safetensors.torch import save_file


def main() -> None:
    name, folder = sys.argv[1:]
    # Answers have a channel of their own, so that nothing that a tool prints gets between them.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(1)
    try:
        contestant = importlib.import_module(f"peers.{name}")
        model = contestant.load(folder)
    except Exception as error:  # noqa: BLE001 (whatever a peer raises is its result)
        print(json.dumps({"error": _told(error)}), file=answers)
        return
    print(json.dumps({"pools": getattr(contestant, "POOLS", ("last", "mean"))}), file=answers)
    for line in sys.stdin:
        try:
            answer = _answer(contestant, model, json.loads(line))
        except Exception as error:  # noqa: BLE001
            answer = {"error": _told(error)}
        print(json.dumps(answer), file=answers)


def _answer(contestant: Any, model: Any, asked: dict[str, Any]) -> dict[str, Any]:
    read = {name: json.loads(Path(path).read_text()) for name, path in asked["files"].items()}
    call = getattr(contestant, asked["call"])
    before = forget_peak()
    start = time.process_time()
    found = call(model, **read, **asked["given"])
    seconds = time.process_time() - start
    held = peak() - before
    if asked["save"]:
        save_file({"found": found.contiguous()}, asked["save"])
    return {"seconds": seconds, "bytes": held}


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip()[:300]


if __name__ == "__main__":
    main()
