"""Pages that commands write say what the code now says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lens import organisms
from lens.organisms import constructed

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "organisms.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", constructed.names())
def test_the_page_of_organisms_shows_each_with_its_role_and_what_must_come_out_false(name):
    plan = constructed._FAMILIES[name].plan(name, 0)
    section = PAGE.split(f"\n### {name}\n")[1].split("\n### ")[0]
    assert f"| `{name}` | {plan.role} | {plan.what} |" in PAGE
    assert f"({plan.role}: " in section
    for claim in plan.false_claims:
        assert f"- ~~{claim.claim}~~: {claim.truth}." in section
    for planted in plan.directions:
        assert f"| {planted.name} | `{planted.site}` |" in section


@pytest.mark.parametrize("name", organisms.names())
def test_the_page_of_organisms_leads_to_the_cards_of_the_trained_ones(name):
    card = f"../lens/organisms/{name}/README.md"
    assert card in PAGE and (ROOT / "docs" / card).is_file()


@pytest.mark.slow
def test_the_page_of_organisms_is_what_its_command_writes(tmp_path):
    out = tmp_path / "organisms.md"
    subprocess.run([sys.executable, ROOT / "docs" / "organisms.py", "--out", out], check=True)
    # The last digit of a measured figure may differ on another processor.
    number = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
    assert number.sub("#", out.read_text(encoding="utf-8")) == number.sub("#", PAGE)
