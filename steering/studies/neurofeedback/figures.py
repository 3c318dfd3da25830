"""The figures of a neurofeedback study, made from its tables."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.figures.base import COLORS, GRAY, band, blank
from steering.studies.result import Figured, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ARMS = {
    "model": (COLORS[0], "solid"),
    "ideal observer": (COLORS[2], "solid"),
    "bag of words": (COLORS[1], "solid"),
    "bag of words, all": (COLORS[1], "dot"),
    "shuffled labels": (GRAY, "solid"),
}
# Of d and of precision: what is drawn.
FARTHEST = 10
MARKS = {"reports": "reported", "explicit": "controlled, explicit", "implicit": "controlled, implicit"}


def figures(result: Result) -> list[Figured]:
    """Reports over shots for each axis, control beside its null, and what was shown of which axis."""
    tables = result.tables
    made = [
        Figured(
            f"Reports: {axis}",
            reports(tables["reporting"], axis),
            "Share of labels told right after so many shots, with 95 % intervals over groups of sentences. A report "
            "says something of activations only where the model's line is above both lines of words; the ideal "
            "observer learns from the activations themselves. With shuffled labels nothing can be learnt.",
        )
        for axis in tables["told"]["axis"]
    ]
    if "control" in tables:
        made.append(
            Figured(
                "Control",
                effects(tables["control"]),
                "How far replies move on the axis when its upper rather than its lower label is asked for (Cohen's d "
                "of sums of two replies). Intervals that hold 0 show no control. Where replies are nearly all alike, d "
                f"has no scale: beyond {FARTHEST} it is drawn there.",
            )
        )
        made.append(
            Figured(
                "Precision",
                precision(tables["control"]),
                "How much more the axis asked for moves than the principal components do on average, beside what this "
                "ratio is without any control (mean, up to the 97.5 % quantile). Above 1 alone it says nothing.",
            )
        )
    made.append(Figured("Which axes", space(tables["space"]), "What was shown of each axis, adjusted over all claims."))
    return made


def reports(table: pd.DataFrame, axis: str) -> "Figure":
    """Accuracy over shots."""
    figure = blank("shots", "labels told right")
    rows = table[(table["axis"] == axis) | (table["arm"] == "shuffled labels")]
    places = sorted(set(rows["shots"]))
    # Shots double: by their place in the list they are evenly spaced.
    for arm, (color, dash) in ARMS.items():
        own = rows[rows["arm"] == arm].sort_values("shots")
        x = pd.Series([places.index(shot) for shot in own["shots"]])
        if arm in ("model", "shuffled labels"):
            band(figure, x, own["low"].reset_index(drop=True), own["high"].reset_index(drop=True), color)
        line = {"color": color, "dash": dash}
        figure.add_scatter(x=x, y=own["accuracy"], mode="lines+markers", name=arm, line=line)
    figure.update_xaxes(tickmode="array", tickvals=list(range(len(places))), ticktext=[str(one) for one in places])
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def effects(table: pd.DataFrame) -> "Figure":
    """d of each axis, explicit and implicit, with intervals."""
    figure = blank("", "d")
    for number, (kind, rows) in enumerate(table.groupby("kind", sort=False)):
        figure.add_scatter(
            x=rows["axis"],
            y=rows["d"].clip(-FARTHEST, FARTHEST),
            mode="markers",
            name=str(kind),
            marker={"color": COLORS[number], "size": 9},
            error_y={
                "type": "data",
                "symmetric": True,
                "array": ((rows["high"] - rows["low"]) / 2).clip(upper=FARTHEST),
            },
        )
    figure.add_hline(y=0, line={"color": GRAY, "width": 1})
    figure.update_layout(scattermode="group")
    return figure


def precision(table: pd.DataFrame) -> "Figure":
    """Precision of each axis, beside its null."""
    figure = blank("", "precision")
    for number, (kind, rows) in enumerate(table.groupby("kind", sort=False)):
        figure.add_bar(
            x=rows["axis"], y=rows["precision"].clip(upper=FARTHEST), name=str(kind), marker_color=COLORS[number]
        )
        figure.add_scatter(
            x=rows["axis"],
            y=rows["null"],
            mode="markers",
            name=f"null, {kind}",
            marker={"color": GRAY, "symbol": "line-ew-open", "size": 12},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["null_high"] - rows["null"],
                "arrayminus": np.zeros(len(rows)),
            },
        )
    figure.update_layout(barmode="group", scattermode="group")
    return figure


def space(table: pd.DataFrame) -> "Figure":
    """Axes by what was shown of them."""
    kinds = [kind for kind in MARKS if kind in table]
    shown = table[kinds].to_numpy(dtype=float).T
    figure = blank("", "")
    figure.add_heatmap(
        z=shown,
        x=table["axis"],
        y=[MARKS[kind] for kind in kinds],
        text=[["shown" if cell else "–" for cell in row] for row in shown],
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        showscale=False,
        colorscale=[[0, "#FFFFFF"], [1, COLORS[5]]],
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=180 + 40 * len(kinds))
    return figure
