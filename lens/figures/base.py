"""Base: what all figures share: colours, layout, bands, heat maps. Plotly loads on first use."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from lens.intervals import wilson

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe & Ito (2008): told apart by colour-blind readers, and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GRAY = "#777777"


def blank(x: str, y: str) -> "Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=420,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        xaxis_title=x,
        yaxis_title=y,
        legend={"orientation": "h", "y": -0.2},
    )
    return figure


def band(figure: "Figure", x: pd.Series, low: pd.Series, high: pd.Series, color: str) -> None:
    red, green, blue = (int(color[k : k + 2], 16) for k in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def need(table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"The figure needs column {missing[0]!r}; available: {available(table.columns)}.")


def heat(
    table: pd.DataFrame, *, low: float, high: float, middle: float, below: dict[tuple[str, str], str] | None = None
) -> "Figure":
    figure = blank("", "")
    text = [
        [
            f"{table.loc[row, column]:.2f}" + (f"<br><sub>{below[row, column]}</sub>" if below else "")
            for column in table.columns
        ]
        for row in table.index
    ]
    figure.add_heatmap(
        z=table.to_numpy(dtype=float),
        x=[str(name) for name in table.columns],
        y=[str(name) for name in table.index],
        text=text,
        texttemplate="%{text}",
        zmin=low,
        zmax=high,
        zmid=middle,
        colorscale=[[0, COLORS[0]], [0.5, "#FFFFFF"], [1, COLORS[1]]],
    )
    figure.update_yaxes(autorange="reversed")
    return figure


def around(hits: np.ndarray) -> dict[str, object]:
    low, high = wilson(int(hits.sum()), len(hits))
    rate = float(hits.mean())
    return {"type": "data", "symmetric": False, "array": [high - rate], "arrayminus": [rate - low]}


def caption(figure: "Figure", text: str) -> "Figure":
    figure.update_layout(margin={"b": 110})
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -100, "xanchor": "left"}
    figure.add_annotation(text=text, showarrow=False, font={"color": GRAY}, **place)
    return figure
