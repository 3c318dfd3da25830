"""Benchmarks: every job runs at a tiny size, and its figures are well formed; speed itself is not asserted."""

import importlib
import json
import re
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
JOBS = ("forward", "mixed", "memory", "scale", "generate", "doses", "edits", "sweep", "erasure", "moments")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    before, threads = set(sys.modules), torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


class InProcess:
    """A contestant without a process of its own, which would take seconds to start."""

    # transformers makes models on the meta device for all threads at once: two at a time get into each other's way.
    alone = threading.Lock()

    def __init__(self, name, folder):
        self.pools = ("last", "mean")
        with self.alone:
            self.tool = importlib.import_module(f"peers.{name}")
            self.model = self.tool.load(str(folder))

    def ready(self):
        return self

    def ask(self, task, *, batch):
        start = time.process_time()
        self.result(task, batch=batch)
        return importlib.import_module("contest").Answer(time.process_time() - start, 1000)

    def result(self, task, *, batch):
        held, given = task.given(batch)
        return getattr(self.tool, task.call)(self.model, **held, **given)

    def close(self):
        pass


def test_the_ratio_is_the_median_of_paired_ratios():
    timing = importlib.import_module("timing")
    found = timing.ratio([2.0, 30.0, 6.0], [1.0, 10.0, 6.0])
    assert found.median == 2.0 and found.low == 1.0 and found.high == 3.0


def test_every_contestant_runs_in_every_round_and_the_first_does_not_count():
    timing = importlib.import_module("timing")
    calls = []

    def contestant(name):
        return lambda: calls.append(name) or float(len(calls))

    seconds = timing.interleave({name: contestant(name) for name in "abc"}, rounds=4)
    rounds = [calls[start : start + 3] for start in range(0, 15, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert all(len(taken) == 4 and min(taken) > 3 for taken in seconds.values())


@pytest.mark.parametrize("job", JOBS)
def test_a_job_runs_small_and_its_figures_become_a_page(job, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [job, "--quick", "--out", str(tmp_path)])
    made = importlib.import_module(job)
    if hasattr(made, "Contestant"):
        monkeypatch.setattr(made, "Contestant", InProcess)
    made.main()
    found = json.loads((tmp_path / f"{job}.json").read_text())
    assert found["command"] == f"python benchmarks/{job}.py --quick" and "torch" in found["machine"]
    for caption, rows in found["tables"].items():
        assert rows, caption
        for row in rows:
            times = [value for name, value in row.items() if name in ("CPU ms", "CPU s")]
            assert all(float(value.replace(",", "")) > 0 for value in times), row
            for value in row.values():
                if "(" in value and " to " in value and "×" not in value and row.get("met") is None:
                    median, low, high = map(float, re.findall(r"[\d.]+", value))
                    assert low <= median <= high
            if "error" in row:
                assert float(row["error"]) < 1e-5, row
            assert row.get("same text", "1") == "1", row
            assert float(row.get("largest difference of a probability", 0)) < 1e-5, row
    page = importlib.import_module("page").page(tmp_path)
    assert found["command"] in page and all(caption in page for caption in found["tables"])


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["gpt2-2x64", "llama-25M"])
def test_peers_that_are_set_up_say_the_same_under_the_same_vector(shape, tmp_path):
    """After `make bench-peers`: greedy, one length, a vector added after one block at every position."""
    contest, material = importlib.import_module("contest"), importlib.import_module("material")
    environments = importlib.import_module("peers.environments")
    if not environments.installed():
        pytest.skip("no peer is set up (make bench-peers)")
    width = material.model(shape).config.hidden_size
    vector = torch.randn(width, generator=torch.Generator().manual_seed(1)).tolist()
    task, place = contest.Generating(material.texts([9] * 3), 1, vector, 12), material.save(shape, tmp_path)
    said = {}
    for name in ("bare", "behaviorlens", *environments.installed()):
        contestant = contest.Contestant(name, place).ready()
        said[name] = contestant.result(task, batch=3)
        contestant.close()
    assert all(torch.equal(ids, said["bare"]) for ids in said.values()), said
    plain = contest.Generating(task.texts, 1, [0.0] * width, 12)
    bare = contest.Contestant("bare", place).ready()
    assert not torch.equal(bare.result(plain, batch=3), said["bare"])
    bare.close()


def test_what_a_contestant_raises_is_told(tmp_path):
    contest = importlib.import_module("contest")
    material = importlib.import_module("material")
    with pytest.raises(contest.ContestantError, match="Error: "):
        contest.Contestant("bare", tmp_path / "nothing").ready()
    place = material.save("gpt2-2x64", tmp_path)
    bare = contest.Contestant("bare", place).ready()
    with pytest.raises(contest.ContestantError, match="IndexError"):
        bare.ask(contest.Task(["w5 w6"], [7], "last"), batch=1)
    assert bare.ask(contest.Task(["w5 w6"], [0, 1], "last"), batch=1).seconds > 0
    bare.close()


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_contestants_of_this_project_agree_with_the_truth(pool, tmp_path):
    material, error_of = importlib.import_module("material"), importlib.import_module("contest").error_of
    place, found = str(material.save("gpt2-2x64", tmp_path)), {}
    for name in ("reference", "bare", "behaviorlens"):
        peer = importlib.import_module(f"peers.{name}")
        found[name] = peer.collect(peer.load(place), material.texts([3, 17, 9, 5]), [0, 1], pool, 2)
    assert found["reference"].shape == (2, 4, 64)
    assert error_of(found["bare"], found["reference"]) < 1e-5
    assert error_of(found["behaviorlens"], found["reference"]) < 1e-5
