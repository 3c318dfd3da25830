"""The main job on the shipped organism: what results.json must show, and a page a browser can draw."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from steering.cli import app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    outcome = CliRunner().invoke(app, ["demo", "--out", str(out)], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "Results on test groups" in outcome.output
    return out


@pytest.fixture(scope="module")
def found(demo: Path) -> dict[str, Any]:
    return json.loads((demo / "results.json").read_text(encoding="utf-8"))["behaviours"]


def detector(found: dict[str, Any], behaviour: str, test: str, name: str) -> dict[str, Any]:
    return next(row for row in found[behaviour]["evaluation"][test] if row["detector"] == name)


def test_honesty_transfers_from_roles_to_system_prompts_and_the_words_do_not(found: dict[str, Any]) -> None:
    assert detector(found, "honesty", "roles → system prompts", "probe")["auroc"] >= 0.95
    assert detector(found, "honesty", "roles → system prompts", "bag_of_words")["auroc"] <= 0.70


def test_held_out_paraphrases_are_reported(found: dict[str, Any]) -> None:
    row = detector(found, "honesty", "roles → held-out paraphrases, entities and templates", "probe")
    assert row["n"] > 40 and 0.5 < row["auroc"] <= 1


def test_the_direction_makes_it_lie_and_random_directions_do_not(found: dict[str, Any]) -> None:
    steering = found["honesty"]["steering"]
    assert steering["unsteered"] <= 0.10
    assert steering["steered"] >= 0.60
    assert steering["random"] <= 0.25 and steering["random_high"] <= 0.25
    assert steering["coherence"] >= 0.9


def test_warmth_spans_its_range(found: dict[str, Any]) -> None:
    values = [row["value"] for row in found["warmth"]["dose_response"] if row["arm"] == "direction"]
    assert min(values) <= 0.10 and max(values) >= 0.85


def test_mean_ablation_removes_a_third_of_the_instructed_lying_and_a_random_direction_nothing(
    found: dict[str, Any],
) -> None:
    ablation = found["honesty"]["mean_ablation"]
    assert ablation["removed"] >= 1 / 3
    assert abs(ablation["random_to_zero"]["value"] - ablation["before"]["value"]) < 0.05


@pytest.mark.parametrize("behaviour", ["honesty", "warmth"])
def test_edit_equals_hooks_and_is_undone(found: dict[str, Any], behaviour: str) -> None:
    assert found[behaviour]["edit"]["hook_and_edit_differ"] <= 1e-4
    assert found[behaviour]["edit"]["undone_bit_for_bit"] is True


def test_effects_on_the_other_behaviour_are_reported_beside_a_random_direction(found: dict[str, Any]) -> None:
    assert all("random" in change for story in found.values() for change in story["off_target_change"].values())
    assert set(found["honesty"]["off_target_change"]) == {"P(warm opener)"}
    assert set(found["warmth"]["off_target_change"]) == {"P(lie)"}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_every_figure_is_drawn_without_an_error(demo: Path, tmp_path: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    figures = page.count('class="plotly-graph-div"')
    assert figures == 6
    command = [str(CHROMIUM), *FLAGS, *QUIET, f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000"]
    drawn = subprocess.run(
        [*command, "--dump-dom", (demo / "index.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(re.findall(r"<svg class=\"main-svg\"[^>]*>(?=<defs)", drawn.stdout)) >= figures
    assert drawn.stdout.count('class="plot-container') == figures
    console = [line for line in drawn.stderr.splitlines() if "CONSOLE" in line]
    assert console == []


def test_the_page_needs_no_network(demo: Path) -> None:
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", page)
