"""The page of steering: every behaviour of the trained organism is on it, moved further than at random, and removed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "steering.md").read_text(encoding="utf-8")
NAMES = ("honesty", "warmth", "caution", "malice")
# An interval is not a subtraction: 0.50 (0.40–0.60).
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


def cells(section):
    part = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def numbers(cell):
    return [float(one) for one in NUMBER.findall(cell.replace("–", " "))]


def test_every_behaviour_is_moved_further_than_along_any_random_direction():
    rows = cells("Moved")
    assert [row[0].split()[0] for row in rows] == list(NAMES)
    for row in rows:
        (unsteered,), (value, low, high), (least, most) = (numbers(row[k]) for k in (4, 5, 6))
        assert low <= value <= high and least <= most
        assert abs(value - unsteered) > 0.3 and (low > most or high < least)


def test_every_behaviour_is_removed_where_words_ask_for_it():
    for row in cells("Removed"):
        (value, low, _), (after, _, high, *_), (random, *_) = (numbers(row[k]) for k in (2, 3, 5))
        assert after < 0.6 * value and high < low
        assert numbers(row[4])[0] < random


def test_its_pictures_are_there_and_small():
    drawn = re.findall(r"\]\((steering-\w+\.png)\)", PAGE)
    assert len(drawn) == 3
    for name in drawn:
        assert 5_000 < (DOCS / name).stat().st_size < 250_000


@pytest.mark.slow
def test_the_page_is_what_its_command_writes(tmp_path):
    subprocess.run([sys.executable, DOCS / "steering_page.py", "--out", tmp_path, "--text"], check=True)
    # The last digit of a figure may differ on another processor.
    written = (tmp_path / "steering.md").read_text(encoding="utf-8")
    assert NUMBER.sub("#", written) == NUMBER.sub("#", PAGE)
