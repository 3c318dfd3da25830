"""The page: whatever a model or a table says is text, never markup."""

from pathlib import Path

import pandas as pd
import pytest

from lens import figures
from lens.errors import DataError
from lens.report import Page, write_json

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    page = Page(HOSTILE, HOSTILE, footer=HOSTILE)
    page.section(HOSTILE, HOSTILE)
    page.table(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE)
    html = page.write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "<img src=x" not in html
    assert html.count("&lt;script&gt;alert") == 9


def test_names_in_figures_cannot_close_the_script(tmp_path: Path) -> None:
    page = Page("t", "i")
    page.figure(figures.score_histogram([-1.0, 1.0], [0, 1], names=("</script><b>cold", "warm")), "c")
    html = page.write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "</script><b>cold" not in html


def test_missing_numbers_are_null_and_not_nan(tmp_path: Path) -> None:
    path = write_json({"a": float("nan"), "b": [1.5, pd.DataFrame({"c": [float("nan"), 2.0]})]}, tmp_path / "r.json")
    assert path.read_text().replace(" ", "").replace("\n", "") == '{"a":null,"b":[1.5,[{"c":null},{"c":2.0}]]}'


def test_a_figure_names_the_column_it_lacks() -> None:
    with pytest.raises(DataError, match="'auroc'; available: site, probe"):
        figures.layer_curve(pd.DataFrame({"site": ["resid_post.0"], "probe": ["logistic"]}))


def test_dose_figure_draws_every_arm() -> None:
    base = {"measure": "P", "unit": "norm", "low": 0.1, "high": 0.3, "coherence": 1.0, "value": 0.2}
    rows = [base | {"arm": arm, "strength": s} for arm in ("direction", "random") for s in (0.0, 1.0)]
    figure = figures.dose_response(pd.DataFrame([*rows, base | {"arm": "prompt", "strength": 0.0}]))
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["this direction", "random directions, same norm", "coherence", "asked for by prompt"]
    assert list(figure.data[-1].x) == [0.0, 1.0] and list(figure.data[-1].y) == [0.2, 0.2]
