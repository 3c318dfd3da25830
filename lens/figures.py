"""Figures: plotly pictures of the tidy tables. Plotly loads on first use."""

from collections.abc import Sequence
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
            name=label,
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


def roc_curve(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    *,
    control: Sequence[float] | np.ndarray | None = None,
    fpr: float = 0.01,
) -> "Figure":
    """ROC of scores, with the point at the threshold that a share `fpr` of *control* scores pass.

    The point lies where label-0 rows are flagged, not where control rows are: right of `fpr` if they look like label 1.
    """
    values, classes = np.asarray(scores, dtype=float), np.asarray(labels)
    _both(classes)
    order = np.argsort(-values, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(values[order]) != 0), len(order) - 1]
    hits, alarms = (np.r_[0, np.cumsum(classes[order] == value)[ends]] / (classes == value).sum() for value in (1, 0))
    figure = _figure("share of label-0 rows flagged", "share of label-1 rows found")
    figure.add_scatter(x=alarms, y=hits, mode="lines", name="probe", line={"color": COLORS[0]})
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="chance", line={"color": GRAY, "dash": "dot"})
    reading = "The further the curve is above the dotted line, the better the scores tell the classes apart."
    if control is not None:
        passing = np.sort(np.asarray(control, dtype=float))
        threshold = passing[-(int(np.floor(fpr * len(passing) + 1e-9)) + 1)]
        found, flagged = (values[classes == value] > threshold for value in (1, 0))
        figure.add_scatter(
            x=[flagged.mean()],
            y=[found.mean()],
            mode="markers",
            name=f"threshold that {fpr:.2g} of controls pass",
            marker={"color": COLORS[1], "size": 11},
            error_x=_around(flagged),
            error_y=_around(found),
        )
        reading = f"The point is where {fpr:.2g} of the control rows are flagged; its bars are Wilson 95 % intervals."
    return _reading(figure, reading)


def reliability_diagram(
    labels: Sequence[int] | np.ndarray, probability: Sequence[float] | np.ndarray, *, bins: int = 10
) -> "Figure":
    """Observed share of label 1 over the predicted one, in bins of equal numbers of rows, with Wilson intervals."""
    classes, predicted = np.asarray(labels), np.asarray(probability, dtype=float)
    if len(predicted) == 0 or predicted.min() < 0 or predicted.max() > 1:
        raise DataError("A reliability diagram needs probabilities from 0 to 1; calibrate the scores first.")
    parts = [part for part in np.array_split(np.argsort(predicted, kind="stable"), bins) if len(part)]
    rate = np.array([classes[part].mean() for part in parts])
    ends = np.array([wilson(int(classes[part].sum()), len(part)) for part in parts])
    figure = _figure("predicted probability of label 1", "observed share of label 1")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"color": GRAY, "dash": "dot"})
    figure.add_scatter(
        x=[predicted[part].mean() for part in parts],
        y=rate,
        mode="lines+markers",
        name="probe",
        line={"color": COLORS[0]},
        error_y={"type": "data", "symmetric": False, "array": ends[:, 1] - rate, "arrayminus": rate - ends[:, 0]},
    )
    figure.update_yaxes(range=[-0.03, 1.03])
    return _reading(figure, "Below the dotted line the probe is too sure of label 1, above it too sure of label 0.")


def cosine_map(table: pd.DataFrame) -> "Figure":
    """Heat map of a square table of cosines, as `probes.cosines` gives."""
    if list(table.index) != list(table.columns):
        raise DataError("A cosine map needs a square table with the same names on both sides.")
    figure = _heat(table, low=-1.0, high=1.0, middle=0.0)
    return _reading(figure, "Orange: the directions agree; blue: they oppose; white: they are unrelated.")


def transfer_map(table: pd.DataFrame) -> "Figure":
    """Heat map of AUROC by training set (rows) and test set (columns), as `probes.transfer` gives."""
    _need(table, "train", "test", "auroc", "low", "high")
    names = list(dict.fromkeys(table["train"]))
    square = table.pivot(index="train", columns="test", values="auroc").loc[names, list(dict.fromkeys(table["test"]))]
    ends = {(row["train"], row["test"]): f"{row['low']:.2f}–{row['high']:.2f}" for _, row in table.iterrows()}
    figure = _heat(square, low=0.0, high=1.0, middle=0.5, below=ends)
    figure.update_xaxes(title="tested on")
    figure.update_yaxes(title="trained on")
    reading = "A row that is orange throughout transfers; white is chance, blue is the wrong way round. Small: 95 %."
    return _reading(figure, reading)


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


def _heat(
    table: pd.DataFrame, *, low: float, high: float, middle: float, below: dict[tuple[str, str], str] | None = None
) -> "Figure":
    figure = _figure("", "")
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


def _around(hits: np.ndarray) -> dict[str, object]:
    low, high = wilson(int(hits.sum()), len(hits))
    rate = float(hits.mean())
    return {"type": "data", "symmetric": False, "array": [high - rate], "arrayminus": [rate - low]}


def _both(labels: np.ndarray) -> None:
    if len(set(labels.tolist())) < 2:
        raise DataError("A ROC needs rows of both labels.")


def _reading(figure: "Figure", text: str) -> "Figure":
    figure.update_layout(margin={"b": 110})
    figure.add_annotation(
        text=text, xref="paper", yref="paper", x=0, y=-0.36, showarrow=False, xanchor="left", font={"color": GRAY}
    )
    return figure
