"""A contest: the same texts to contestants in processes of their own, each loaded once and held against the truth."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from by_hand import Pool
from peers.environments import installed, python
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
OURS, BARE, REFERENCE = "behaviorlens", "bare", "reference"


class ContestantError(Exception):
    """What a contestant raised."""


@dataclass(frozen=True)
class Task:
    """What is asked: the activations after these blocks, pooled over each text."""

    texts: Sequence[str]
    layers: Sequence[int]
    pool: Pool

    call = "collect"

    def given(self, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """What goes into files, and what is said in the request."""
        return {"texts": list(self.texts)}, {"layers": list(self.layers), "pool": self.pool, "batch": batch}


@dataclass(frozen=True)
class Generating:
    """What is asked: so many new tokens, greedily, with a vector added after one block at every position."""

    texts: Sequence[str]
    layer: int
    vector: Sequence[float]
    new: int
    call = "generate"

    def given(self, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """As of `Task`; the texts are one batch."""
        return {"texts": list(self.texts), "vector": list(self.vector)}, {"layer": self.layer, "new": self.new}


@dataclass(frozen=True)
class Answer:
    """seconds: CPU time of the contestant's process. bytes: its peak memory during the call over what it held
    before."""

    seconds: float
    bytes: int


class Contestant:
    """A process that loads a model in one tool; ask it when it is ready."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        interpreter = python(name) if name in installed() else Path(sys.executable)
        self._files = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [str(interpreter), str(HERE / "worker.py"), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ready(self) -> "Contestant":
        """Wait until the model is loaded. Raises ContestantError."""
        try:
            self.pools: list[Pool] = self._read()["pools"]
        except ContestantError:
            self.close()
            raise
        return self

    def ask(self, task: Task | Generating, *, batch: int) -> Answer:
        """Raises ContestantError: what the tool raised."""
        return Answer(**self._ask(task, batch=batch, save=""))

    def result(self, task: Task | Generating, *, batch: int) -> Tensor:
        """Activations `[layers, n, d]`, or ids `[n, new]`. Raises ContestantError."""
        where = Path(self._files.name) / "result.safetensors"
        self._ask(task, batch=batch, save=str(where))
        return load_file(where)["found"]

    def _ask(self, task: Task | Generating, *, batch: int, save: str) -> dict[str, Any]:
        held, given = task.given(batch)
        files = {name: Path(self._files.name) / f"{name}.json" for name in held}
        for name, path in files.items():
            path.write_text(json.dumps(held[name]))
        asked = {"call": task.call, "files": {name: str(path) for name, path in files.items()}, "given": given}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked | {"save": save}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContestantError(f"its process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(answer["error"])
        return answer

    def close(self) -> None:
        self._process.communicate()
        self._files.cleanup()


def error_of(found: Tensor, truth: Tensor) -> float:
    """The largest error of any activation, relative to its norm."""
    return float(((found - truth).norm(dim=-1) / truth.norm(dim=-1)).max())
