"""Figures of the study, made from its tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.figures.base import COLORS, GRAY, band, blank
from steering.studies.result import Figured, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def figures(result: Result) -> Iterator[Figured]:
    """P(IK) by layer; stated confidence against knowledge; reliability; revision; whose state tells whose knowledge."""
    tables = result.tables
    yield Figured(
        "P(IK) by layer",
        _layers(tables["layers"], tables["texts"]),
        "How well a linear probe of the state where the question ends tells known from unknown questions, on groups "
        "that it was not fitted on. Dotted: what classifiers of the text alone reach.",
    )
    yield Figured(
        "What it knows and what it says",
        _against(tables["knowledge"]),
        "Each point is a question: the probability of its right answer, and the confidence that the model states. On "
        "the diagonal, it says what it knows.",
    )
    yield Figured(
        "Reliability",
        _reliability(tables["curve"]),
        "Bins of equal count by confidence: a calibrated one lies on the diagonal. Below it, the model is right less "
        "often than it says.",
    )
    if "revision" in tables:
        yield Figured(
            "Asked again",
            _scores(tables["revision"], ["CL", "CS", "RSS"]),
            "CL: right answers that are kept; CS: wrong ones that are mended. RSS cannot be read alone: it is .5 both "
            "for a model that never changes its answer and for one that draws it anew.",
        )
    if "dcs" in tables:
        yield Figured(
            "Declining",
            _scores(tables["dcs"], tables["dcs"]["score"].tolist()),
            "DCS rewards right answers, and abstaining where the answer would be wrong; Brier score and abstention "
            "stand beside it because DCS alone can be gamed.",
        )
    if "models" in tables and len(tables["models"]) == 4:
        yield Figured(
            "Whose state tells whose knowledge",
            _models(tables["models"]),
            "Self-knowledge that is more than the question's difficulty: the model's own state tells its knowledge "
            "better than the other model's state does.",
        )


def _layers(layers: pd.DataFrame, texts: pd.DataFrame) -> "Figure":
    figure = blank("layer", "AUROC, known against unknown")
    band(figure, layers["layer"], layers["low"], layers["high"], COLORS[0])
    figure.add_scatter(
        x=layers["layer"], y=layers["auroc"], mode="lines+markers", name="P(IK)", line={"color": COLORS[0]}
    )
    for color, row in zip(COLORS[1:], texts.itertuples(), strict=False):
        name = str(row.classifier).replace("_", " ")
        figure.add_hline(y=row.auroc, line={"dash": "dot", "color": color}, annotation_text=name)
    figure.add_hline(y=0.5, line={"color": GRAY, "width": 1})
    figure.update_xaxes(dtick=1 if len(layers) < 20 else None)
    figure.update_yaxes(range=[0, 1.02])
    return figure


def _against(knowledge: pd.DataFrame) -> "Figure":
    figure = blank("P(right answer)", "stated confidence")
    kinds = knowledge["context"] if "context" in knowledge else pd.Series("plain", index=knowledge.index)
    for color, (name, rows) in zip(COLORS, knowledge.groupby(kinds), strict=False):
        figure.add_scatter(
            x=rows["known"], y=rows["stated"], mode="markers", name=str(name), marker={"color": color, "opacity": 0.5}
        )
    _diagonal(figure)
    return figure


def _reliability(curve: pd.DataFrame) -> "Figure":
    figure = blank("confidence", "rate right")
    for color, (name, rows) in zip(COLORS, curve.groupby("confidence", sort=False), strict=False):
        figure.add_scatter(
            x=rows["stated"], y=rows["right"], mode="lines+markers", name=str(name), line={"color": color}
        )
    _diagonal(figure)
    return figure


def _diagonal(figure: "Figure") -> None:
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": GRAY}, showlegend=False)
    figure.update_xaxes(range=[-0.02, 1.02])
    figure.update_yaxes(range=[-0.02, 1.02])


def _scores(table: pd.DataFrame, names: list[str]) -> "Figure":
    rows = table.set_index("score").loc[names]
    figure = blank("", "")
    figure.add_bar(
        x=names,
        y=rows["value"],
        marker={"color": COLORS[0]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.asarray(rows["high"] - rows["value"]),
            "arrayminus": np.asarray(rows["value"] - rows["low"]),
        },
    )
    return figure


def _models(table: pd.DataFrame) -> "Figure":
    from lens.figures.base import heat

    wide = table.pivot(index="knowledge of", columns="states of", values="auroc")
    below = {
        (str(row["knowledge of"]), str(row["states of"])): f"{row['low']:.2f} to {row['high']:.2f}"
        for _, row in table.iterrows()
    }
    figure = heat(wide, low=0.0, high=1.0, middle=0.5, below=below)
    figure.update_layout(xaxis_title="state of", yaxis_title="knowledge of")
    return figure
