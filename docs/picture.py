"""Draw the README's picture from the demo's numbers: `make demo picture` writes docs/demo.png (needs Chromium)."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from plotly.subplots import make_subplots

from lens import figures

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

RESULTS = Path("reports/demo/results.json")
OUT = Path("docs/demo.png")
BROWSER = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


def main() -> None:
    if not RESULTS.is_file():
        sys.exit(f"{RESULTS} is missing: run `make demo` first")
    found = json.loads(RESULTS.read_text())["behaviours"]["honesty"]
    parts = {
        "Where it can be read": figures.layer_curve(pd.DataFrame(found["sweep"])),
        "What it does when added": figures.dose_response(pd.DataFrame(found["dose_response"])),
    }
    both = make_subplots(rows=1, cols=2, subplot_titles=list(parts), horizontal_spacing=0.09)
    for column, part in enumerate(parts.values(), start=1):
        for trace in part.data:
            both.add_trace(trace, row=1, col=column)
        both.update_xaxes(title_text=part.layout.xaxis.title.text, row=1, col=column)
        both.update_yaxes(title_text=part.layout.yaxis.title.text, range=part.layout.yaxis.range, row=1, col=column)
    both.update_xaxes(dtick=1, row=1, col=1)
    both.update_layout(template="plotly_white", width=1080, height=400, margin={"l": 60, "r": 20, "t": 40, "b": 50})
    both.update_layout(legend={"orientation": "h", "y": -0.22, "font": {"size": 11}})
    shoot(both, OUT, width=1100, height=415)


def shoot(figure: "Figure", out: Path, *, width: int, height: int) -> None:
    """Draw a figure as a .png of this size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.html"
        figure.write_html(path, config={"displayModeBar": False})
        shot = (f"--user-data-dir={folder}/profile", "--hide-scrollbars", "--virtual-time-budget=10000")
        command = [*BROWSER, *shot, f"--window-size={width},{height}", f"--screenshot={out.resolve()}", path.as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
