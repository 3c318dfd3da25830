"""The README's example prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
NUMBER = re.compile(r"-?\d+\.\d+")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_examples_print_what_is_shown() -> None:
    """The first two, one after the other."""
    names: dict[str, object] = {}
    for code, shown in zip(blocks("python")[:2], blocks("text")[:2], strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(README), "exec"), names)
        got = printed.getvalue()
        assert NUMBER.sub("#", got).split() == NUMBER.sub("#", shown).split()
        # A last digit may round differently on another processor.
        assert [float(n) for n in NUMBER.findall(got)] == pytest.approx(
            [float(n) for n in NUMBER.findall(shown)], abs=0.02
        )
