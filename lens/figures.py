"""Figures: plotly pictures of the tidy tables. Plotly loads on first use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.errors import DataError, available

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe & Ito (2008): told apart by colour-blind readers, and in print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GRAY = "#777777"


def layer_curve(table: pd.DataFrame) -> "Figure":
    """AUROC over layers from a sweep table, one line per probe with its interval, beside its baselines."""
    _need(table, "site", "probe", "auroc", "low", "high", "random_high", "bag_of_words", "char_ngrams")
    figure = _figure("block", "out-of-fold AUROC")
    layers = table["site"].str.split(".").str[1].astype(int)
    for number, (probe, rows) in enumerate(table.assign(layer=layers).groupby("probe", sort=False)):
        rows = rows.sort_values("layer")
        color = COLORS[number % len(COLORS)]
        _band(figure, rows["layer"], rows["low"], rows["high"], color)
        figure.add_scatter(
            x=rows["layer"], y=rows["auroc"], mode="lines+markers", name=str(probe), line={"color": color}
        )
    by_layer = table.assign(layer=layers).groupby("layer", sort=True)
    lines = {"random direction, 95th percentile": ("random_high", "dot"), "shuffled labels": ("shuffled", "dashdot")}
    for label, (column, dash) in lines.items():
        values = by_layer[column].max()
        figure.add_scatter(x=values.index, y=values, mode="lines", name=label, line={"color": GRAY, "dash": dash})
    texts = {
        "bag of words (text only)": ("bag_of_words", "dash"),
        "spelling (text only)": ("char_ngrams", "longdashdot"),
    }
    for label, (column, dash) in texts.items():
        value = float(table[column].iloc[0])
        figure.add_scatter(
            x=[layers.min(), layers.max()],
            y=[value, value],
            mode="lines",
            name=f"{label} (text only)",
            line={"color": "black", "dash": dash},
        )
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(range=[min(0.3, float(table["low"].min()) - 0.03), 1.03])
    return figure


def score_histogram(
    scores: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray, names: tuple[str, str]
) -> "Figure":
    """Histogram of scores by class; `names` are those of label 0 and label 1. The threshold is at 0.

    Scores are best given per residual norm, `direction.score(h) / (direction.norm * direction.residual_norm)`.
    """
    values, classes = np.asarray(scores), np.asarray(labels)
    figure = _figure("probe score in residual norms (above 0: label 1)", "rows")
    edges = np.linspace(values.min(), values.max(), 41)
    for label, color in ((0, COLORS[1]), (1, COLORS[0])):
        figure.add_histogram(
            x=values[classes == label],
            name=names[label],
            marker_color=color,
            opacity=0.65,
            xbins={"start": edges[0], "end": edges[-1], "size": edges[1] - edges[0]},
        )
    figure.update_layout(barmode="overlay")
    figure.add_vline(x=0, line={"color": "black", "dash": "dash"})
    return figure


def dose_response(curve: pd.DataFrame, *, coherence: bool = True) -> "Figure":
    """A dose-response table: the direction with its interval, random directions, the prompt, and coherence."""
    _need(curve, "arm", "strength", "value", "low", "high", "coherence", "measure", "unit")
    unit = {"norm": "residual norms", "difference": "class differences", "raw": "raw units"}
    figure = _figure(f"strength ({unit.get(curve['unit'].iloc[0], '')})", curve["measure"].iloc[0])
    arms = {"direction": ("this direction", COLORS[0]), "random": ("random directions, same norm", GRAY)}
    for arm, (label, color) in arms.items():
        rows = curve[curve["arm"] == arm].sort_values("strength")
        if len(rows):
            _band(figure, rows["strength"], rows["low"], rows["high"], color)
            figure.add_scatter(
                x=rows["strength"], y=rows["value"], mode="lines+markers", name=label, line={"color": color}
            )
    own = curve[curve["arm"] == "direction"].sort_values("strength")
    if coherence and own["coherence"].notna().any():
        figure.add_scatter(
            x=own["strength"],
            y=own["coherence"],
            mode="lines",
            name="coherence",
            line={"color": COLORS[2], "dash": "dot"},
        )
    for _, row in curve[curve["arm"] == "prompt"].iterrows():
        figure.add_hline(
            y=row["value"],
            line={"color": COLORS[4], "dash": "dash"},
            annotation_text="asked for by prompt",
            annotation_position="bottom right",
        )
    if curve["low"].min() >= 0 and curve["high"].max() <= 1:
        figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def _figure(x: str, y: str) -> "Figure":
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


def _band(figure: "Figure", x: pd.Series, low: pd.Series, high: pd.Series, color: str) -> None:
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


def _need(table: pd.DataFrame, *columns: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"The figure needs column {missing[0]!r}; available: {available(table.columns)}.")
