"""Figures of self-prediction: what tells the answers at each layer, the gaps, and which answers are mistaken."""

from typing import TYPE_CHECKING

import pandas as pd

from lens.figures.base import COLORS, GRAY, band, blank, heat
from steering.studies.result import Figured, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN_VALUES = 12


def figures(result: Result) -> list[Figured]:
    """Made from the tables."""
    names = {"A": result.settings["model"], "B": result.settings["other"]}
    agreement = float(result.tables["similarity"]["agreement"].iloc[0])
    found = []
    for target in ("A", "B"):
        found.append(
            Figured(
                f"What tells the answers of {target} ({names[target]})",
                _layers(result.tables["layers"], result.tables["accuracy"], target),
                f"Accuracy at each layer, out of fold, with 95 % intervals: where the line of {target} lies above that "
                f"of the other model and above the text, {target} holds something of its own. Single layers are not "
                "paid for: the claims take the layer that each fold chose.",
            )
        )
    found.append(
        Figured(
            "Gaps",
            _forest(result.tables["gaps"]),
            "Accuracy of self-prediction less that of the best of: the other model, words, spelling, the commonest "
            "answer; with 95 % intervals. Corrected: what is left when one model reads both models' answers better. "
            f"The two models answer {agreement:.0%} of the questions alike; models that are alike predict each other.",
        )
    )
    for target in ("A", "B"):
        table = result.tables["confusion"]
        found.append(
            Figured(
                f"What {target} is predicted to answer, by its own activations",
                _confusion(table[table["target"] == target]),
                "Share of each answer (row) that is predicted as each (column).",
            )
        )
    return found


def _layers(layers: pd.DataFrame, accuracy: pd.DataFrame, target: str) -> "Figure":
    figure = blank("layer", "accuracy")
    own = f"{target}'s activations"
    mine = layers[layers["target"] == target]
    for reader, part in sorted(mine.groupby("reader"), key=lambda item: item[0] != own):
        color = COLORS[0] if reader == own else COLORS[1]
        x = pd.Series(range(len(part)))
        band(figure, x, part["low"], part["high"], color)
        figure.add_scatter(
            x=x,
            y=part["accuracy"],
            mode="lines+markers",
            name=reader,
            line={"color": color},
            customdata=part["site"],
            hovertemplate="%{customdata}: %{y:.2f}<extra></extra>",
        )
    widest = max(len(part) for _, part in mine.groupby("reader")) - 1
    plain = accuracy[(accuracy["target"] == target) & ~accuracy["reader"].str.endswith("activations")]
    dashes = {"words": "dot", "characters": "dash", "spelling": "dashdot", "mode": "longdash", "spoken": "solid"}
    for row in plain.itertuples():
        color = COLORS[2] if row.reader == "spoken" else GRAY
        line = {"color": color, "dash": dashes.get(str(row.reader), "dot")}
        figure.add_scatter(x=[0, max(widest, 1)], y=[row.accuracy] * 2, mode="lines", name=str(row.reader), line=line)
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def _forest(gaps: pd.DataFrame) -> "Figure":
    rows = []
    for row in gaps.to_dict("records"):
        what = "reads itself" if row["by"] == "activations" else "says"
        rows.append((f"{row['target']} {what}, less {row['best']}", row["value"], row["low"], row["high"], COLORS[0]))
    both = gaps[gaps["by"] == "activations"].iloc[0]
    told = (both["corrected"], both["corrected_low"], both["corrected_high"])
    rows.append(("both directions, corrected", *told, COLORS[2]))
    able = (both["capability"], both["capability_low"], both["capability_high"])
    rows.append(("A reads any answer better", *able, GRAY))
    figure = blank("difference of accuracies", "")
    for name, value, low, high, color in rows:
        spread = {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]}
        marker = {"color": color, "size": 10}
        figure.add_scatter(x=[value], y=[name], mode="markers", marker=marker, error_x=spread, showlegend=False)
    figure.add_vline(x=0, line={"color": GRAY, "dash": "dash"})
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(margin={"l": 280})
    return figure


def _confusion(table: pd.DataFrame) -> "Figure":
    often = table.groupby("answered")["rows"].sum().sort_values(ascending=False).index[:SHOWN_VALUES]
    square = table.pivot_table(index="answered", columns="predicted", values="rows", aggfunc="sum", fill_value=0)
    share = square.div(square.sum(axis=1), axis=0).reindex(index=often, columns=often, fill_value=0.0)
    figure = heat(share, low=0.0, high=1.0, middle=0.0)
    figure.update_traces(colorscale=[[0, "#FFFFFF"], [1, COLORS[0]]], zmid=None, showscale=False)
    figure.update_layout(xaxis_title="predicted", yaxis_title="answered")
    return figure
