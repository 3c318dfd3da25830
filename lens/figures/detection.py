"""Detection: where something can be read, how well, and how directions lie to each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.errors import DataError
from lens.figures.base import COLORS, GRAY, around, band, blank, caption, heat, need
from lens.intervals import wilson

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def layer_curve(table: pd.DataFrame) -> "Figure":
    """AUROC over layers from a sweep table, one line per probe with its interval, beside its baselines."""
    need(table, "site", "probe", "auroc", "low", "high", "random_high", "bag_of_words", "char_ngrams")
    figure = blank("block", "out-of-fold AUROC")
    layers = table["site"].str.split(".").str[1].astype(int)
    for number, (probe, rows) in enumerate(table.assign(layer=layers).groupby("probe", sort=False)):
        rows = rows.sort_values("layer")
        color = COLORS[number % len(COLORS)]
        band(figure, rows["layer"], rows["low"], rows["high"], color)
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
    figure = blank("probe score in residual norms (above 0: label 1)", "rows")
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
    figure = blank("share of label-0 rows flagged", "share of label-1 rows found")
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
            error_x=around(flagged),
            error_y=around(found),
        )
        reading = f"The point is where {fpr:.2g} of the control rows are flagged; its bars are Wilson 95 % intervals."
    return caption(figure, reading)


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
    figure = blank("predicted probability of label 1", "observed share of label 1")
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
    return caption(figure, "Below the dotted line the probe is too sure of label 1, above it too sure of label 0.")


def cosine_map(table: pd.DataFrame) -> "Figure":
    """Heat map of a square table of cosines, as `probes.cosines` gives."""
    if list(table.index) != list(table.columns):
        raise DataError("A cosine map needs a square table with the same names on both sides.")
    figure = heat(table, low=-1.0, high=1.0, middle=0.0)
    return caption(figure, "Orange: the directions agree; blue: they oppose; white: they are unrelated.")


def transfer_map(table: pd.DataFrame) -> "Figure":
    """Heat map of AUROC by training set (rows) and test set (columns), as `probes.transfer` gives."""
    need(table, "train", "test", "auroc", "low", "high")
    names = list(dict.fromkeys(table["train"]))
    square = table.pivot(index="train", columns="test", values="auroc").loc[names, list(dict.fromkeys(table["test"]))]
    ends = {(row["train"], row["test"]): f"{row['low']:.2f}–{row['high']:.2f}" for _, row in table.iterrows()}
    figure = heat(square, low=0.0, high=1.0, middle=0.5, below=ends)
    figure.update_xaxes(title="tested on")
    figure.update_yaxes(title="trained on")
    reading = "A row that is orange throughout transfers; white is chance, blue is the wrong way round. Small: 95 %."
    return caption(figure, reading)


def _both(labels: np.ndarray) -> None:
    if len(set(labels.tolist())) < 2:
        raise DataError("A ROC needs rows of both labels.")
