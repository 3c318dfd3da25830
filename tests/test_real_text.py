"""The rows of docs/real_text.md: what is trained on shares nothing with what is tested, and what the page calls more
than text is more than text."""

import sys
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lens

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import real_text  # noqa: E402
import real_text_rows  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
PAGE = (ROOT / "docs" / "real_text.md").read_text(encoding="utf-8")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared folder with real data sets is absent")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(real_text, "SWAPS", 400)
    monkeypatch.setattr(real_text, "DRAWS", 200)


@pytest.fixture(scope="module")
def few():
    """Turns of tau-trait, a few of each trait in each domain."""
    return real_text_rows.turns(DATA, 20)


@needs_data
@pytest.mark.parametrize("name", list(real_text_rows.DATA))
def test_every_data_set_is_sampled_in_whole_groups(name):
    table = real_text_rows.DATA[name](DATA)
    rows = real_text_rows.sample(table, 200)
    assert 50 < len(rows) <= 200 and set(rows.labels) == {0, 1}
    sizes, found = (one["group"].astype(str).value_counts() for one in (table, rows.frame))
    assert (found == sizes[found.index]).all()
    task = real_text_rows.Task.of(name, rows)
    assert not set(task.train.groups) & set(task.test.groups)
    assert set(task.train.labels) == set(task.test.labels) == {0, 1}


@needs_data
def test_sentences_and_their_edits_are_never_split():
    table = real_text_rows.DATA["ETHICS commonsense: wrong"](DATA)
    assert table["group"].iloc[0] == table["group"].iloc[1]  # "I told my baby I loved her", "… I hated her"
    near = [
        row
        for row, (one, other) in enumerate(pairwise(table["prompt"].iloc[:400]))
        if SequenceMatcher(None, one, other, autojunk=False).ratio() > 0.8
    ]
    assert len(near) > 100 and (table["group"].to_numpy()[near] == table["group"].to_numpy()[np.array(near) + 1]).all()
    assert table["group"].nunique() > 1000
    situations = real_text_rows.DATA["ETHICS justice: reasonable"](DATA).groupby("group").size()
    assert (situations == 4).mean() > 0.9
    xstest = real_text_rows.DATA["XSTest: unsafe, not safe"](DATA)
    assert (xstest.groupby("group")["label"].nunique() == 2).mean() > 0.9
    assert (xstest["group"] == "discrimination").sum() == 75


@needs_data
def test_traits_are_held_against_traits_on_other_tasks_and_in_another_domain(few):
    assert set(few.frame["trait"]) == set(real_text_rows.TRAITS)
    assert few.frame.groupby(["trait", "domain"]).size().max() == 20
    found = list(real_text_rows.pairs(few))
    assert len(found) == 12
    for task in found:
        both = pd.concat([task.train.frame, task.test.frame])
        assert (both.groupby("domain")["label"].nunique() == 2).all()
        assert (both.groupby("label")["trait"].nunique() == 1).all() and both["trait"].nunique() == 2
        assert task.name.removeprefix("tau: ").startswith(both.loc[both["label"] == 1, "trait"].iloc[0])
        assert not set(task.train.groups) & set(task.test.groups)
        if "unseen" in task.name:
            assert set(task.test.frame["domain"]) == {"telehealth"} and "telehealth" not in set(
                task.train.frame["domain"]
            )
    retail = {task.name for task in found if "retail" in set(task.train.frame["domain"])}
    assert len(retail) == 2 and all("impatience, not incoherence" in name for name in retail)


@needs_data
def test_each_text_is_encoded_once_and_found_again(few, models, monkeypatch):
    texts = []

    def read(model, examples):
        texts.extend(examples.prompts)
        return lens.collect(
            model, examples, span="all", pool="mean", sites=["resid_post.1"], truncate="right", progress=False
        )

    some = lens.Examples(few.frame.groupby(["trait", "domain"]).head(4))
    monkeypatch.setattr(real_text, "read", read)
    monkeypatch.setattr(real_text, "turns", lambda folder, limit: some)
    found = list(real_text.tasks(lambda: models("bert"), DATA, rows=60, names=["persona: openness"]))
    assert len(found) == 1 + 12 and not texts  # nothing is encoded before it is needed
    for task, parts in (found[0], found[1], found[-1]):
        for examples, acts in zip((task.train, task.test), parts(), strict=True):
            assert acts.examples.prompts == examples.prompts and acts.labels.tolist() == examples.labels.tolist()
    assert 60 < len(texts) <= 60 + 4 * 14
    train, _ = found[1][1]()
    again = read(models("bert"), train.examples)
    assert np.allclose(again.numpy("resid_post.1"), train.numpy("resid_post.1"), atol=1e-5)


def test_a_probe_adds_where_it_beats_every_reader_of_the_text(planted):
    """Labels that no word tells, in activations or nowhere."""
    rows = {}
    for name, signal in (("planted", {1: 3.0}), ("nothing", {})):
        acts = planted(signal=signal, groups=80, seed=3)
        train, test = acts.examples.split(test=0.4, seed=0)
        parts = [np.isin(acts.groups, part.groups) for part in (train, test)]
        task = real_text_rows.Task(name, train, test)
        rows[name] = real_text.measured(task, *(replace(acts.select(part)) for part in parts))
    assert rows["planted"]["at"].startswith("resid_post.1") and rows["planted"]["clear"]
    assert rows["planted"]["adds"][1] > 0.2 and rows["planted"]["p"] < 0.01
    assert not rows["nothing"]["clear"] and rows["nothing"]["p"] > 0.05
    page = real_text.lines(list(rows.values())).splitlines()
    assert "**adds to the text**" in page[0] and "no more than" in page[1]
    # Adjusted over all lines: among many, the same evidence is not enough.
    weak = rows["planted"] | {"p": 0.02}
    assert "adds to the text" in real_text.lines([weak]) and "adds to" not in real_text.lines([weak] * 3)
    assert "adds to" not in real_text.lines([weak | {"clear": False}])


def test_a_difference_is_judged_by_groups():
    rng = np.random.default_rng(0)
    labels, groups = np.tile([0, 1], 60), np.repeat(np.arange(30), 4)
    good, bad = labels + 0.5 * rng.standard_normal(120), rng.standard_normal(120)
    value, low, high, p = real_text.difference(labels, groups, good, bad)
    assert 0.2 < low < value < high and p < 0.01
    assert real_text.difference(labels, groups, bad, good)[0] == pytest.approx(-value)
    same = real_text.difference(labels, groups, good, good * 10)
    assert same[:3] == (0, 0, 0) and same[3] == 1
    # The same rows in four groups are four cases, not 120.
    assert real_text.difference(labels, groups // 8, good, bad)[3] > 0.05


def test_the_page_holds_every_line_and_only_claims_what_is_adjusted():
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| data ")]
    names = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert (
        names[: len(real_text_rows.DATA)] == list(real_text_rows.DATA) and len(names) == len(real_text_rows.DATA) + 12
    )
    for line in lines:
        cells = line.strip("| ").split(" | ")
        assert ("adds to the text" in cells[-1]) <= (float(cells[-2]) < 0.05)
    assert f"{PAGE.count('| **adds')} of {len(lines)} lines add to the text" in PAGE
    assert PAGE.startswith(real_text.HEAD.splitlines()[0]) and real_text.TAIL.strip() in PAGE
