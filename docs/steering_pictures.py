"""The pictures of docs/steering.md, drawn by docs/steering_page.py (needs Chromium)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from picture import shoot
from plotly.subplots import make_subplots

import steering
from lens import figures

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def draw(curves: Mapping[str, Mapping[str, pd.DataFrame]], spilled: pd.DataFrame, out: Path) -> None:
    """The pictures of the page: dose curves, moved and removed, by their titles; and what else moves."""
    for kind, panels in curves.items():
        drawn = {
            name: figures.dose_response(curve, working=steering.working_range(curve) if kind == "moved" else None)
            for name, curve in panels.items()
        }
        shoot(grid(drawn), out / f"steering-{kind}.png", width=1070, height=820)
    heat = figures.spillover_map(spilled)
    heat.update_layout(width=1050, height=480)
    shoot(heat, out / "steering-spillover.png", width=1070, height=500)


def grid(panels: Mapping[str, "Figure"]) -> "Figure":
    """Dose curves two by two, with one legend."""
    whole = make_subplots(rows=2, cols=2, subplot_titles=list(panels), horizontal_spacing=0.09, vertical_spacing=0.14)
    named = set()
    for number, panel in enumerate(panels.values()):
        place = {"row": number // 2 + 1, "col": number % 2 + 1}
        for trace in panel.data:
            trace.legendgroup = trace.name
            trace.showlegend = bool(trace.name) and trace.name not in named and trace.showlegend is not False
            named.add(trace.name)
            whole.add_trace(trace, **place)
        for shape in panel.layout.shapes:
            whole.add_shape(shape, **place)
        whole.update_xaxes(title_text=panel.layout.xaxis.title.text, title_standoff=4, **place)
        whole.update_yaxes(title_text=panel.layout.yaxis.title.text, range=[-0.03, 1.05], **place)
    whole.update_layout(template="plotly_white", width=1050, height=800, margin={"l": 60, "r": 20, "t": 40, "b": 60})
    whole.update_layout(legend={"orientation": "h", "y": -0.1})
    return whole
