"""Pictures: rates over strength, psychometric curves, what is named for what, and the arms side by side."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.figures.base import COLORS, GRAY, band, blank, caption
from steering.studies.injected_thoughts.psychometric import Psychometric
from steering.studies.result import Figured, Result

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MEASURES = {
    "claims": "claims to notice (or says yes)",
    "success": "claims, then names it",
    "right": "names it when asked",
}


def figures(result: Result) -> list[Figured]:
    """The study's figures, made from the tables."""
    tables = result.tables
    found = [
        Figured(
            "True and false positives",
            positives(tables["cells"]),
            "Replies that claim to notice a thought and then name it, by site and strength (multiples of the vector), "
            "with 95 % Wilson intervals, beside the claims where nothing was injected (dashed). The ring is the cell "
            "that was chosen, on half of the trials; all trials are drawn.",
        ),
        Figured(
            "Arms at the chosen site and strength",
            arms(tables["arms"]),
            "On the half that was not used to choose. A model that notices thoughts claims so under its concept and "
            "under nothing else; one that says yes to whatever disturbs it does so after random directions and to "
            "unrelated questions; one that repeats the word names it and claims nothing.",
        ),
        Figured(
            "What is named for what",
            confusion(tables["confusion"]),
            "Asked which word the thought is about, at the chosen site and strength. Right names lie on the diagonal; "
            "a habit is a column.",
        ),
    ]
    if len(tables["psychometric"]):
        found.insert(
            1,
            Figured(
                "How noticing grows with strength",
                psychometric(tables["cells"], tables["psychometric"]),
                "Share of replies that claim to notice something, and the fitted curve with its threshold (the dotted "
                "line). No curve where a constant rate fits as well.",
            ),
        )
    return found


def positives(cells: pd.DataFrame) -> "Figure":
    """True-positive rate over strength, a line per site, and the false-positive rate."""
    figure = blank("strength (multiples of the vector)", "rate")
    for number, (site, rows) in enumerate(cells.groupby("site", sort=False)):
        color, rows = COLORS[number % len(COLORS)], rows.sort_values("strength")
        band(figure, rows["strength"], rows["tpr_low"], rows["tpr_high"], color)
        figure.add_scatter(
            x=rows["strength"], y=rows["tpr"], mode="lines+markers", name=str(site), line={"color": color}
        )
    ends = [cells["strength"].min(), cells["strength"].max()]
    first = cells.iloc[0]
    band(figure, pd.Series(ends), pd.Series([first["fpr_low"]] * 2), pd.Series([first["fpr_high"]] * 2), GRAY)
    figure.add_scatter(
        x=ends, y=[first["fpr"]] * 2, mode="lines", name="false positives", line={"color": GRAY, "dash": "dash"}
    )
    taken = cells[cells["chosen"]]
    figure.add_scatter(
        x=taken["strength"],
        y=taken["tpr"],
        mode="markers",
        name="chosen",
        marker={"symbol": "circle-open", "size": 18, "color": "black", "line": {"width": 2}},
    )
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def psychometric(cells: pd.DataFrame, fits: pd.DataFrame) -> "Figure":
    """Rates of claims at each strength, and the fitted curves."""
    figure = blank("strength (multiples of the vector)", "claims to notice")
    for number, fit in enumerate(fits.itertuples()):
        color, rows = COLORS[number % len(COLORS)], cells[cells["site"] == fit.site]
        figure.add_scatter(
            x=[0.0, *rows["strength"]],
            y=[rows["fpr"].iloc[0], *rows["claims"]],
            mode="markers",
            name=str(fit.site),
            marker={"color": color, "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [rows["fpr_high"].iloc[0] - rows["fpr"].iloc[0], *(rows["claims_high"] - rows["claims"])],
                "arrayminus": [rows["fpr"].iloc[0] - rows["fpr_low"].iloc[0], *(rows["claims"] - rows["claims_low"])],
            },
        )
        if not fit.rises:
            continue
        curve = Psychometric(fit.threshold, fit.low, fit.high, fit.slope, fit.guess, fit.lapse, rises=True)
        x = np.linspace(0.0, float(rows["strength"].max()), 200)
        figure.add_scatter(x=x, y=curve(x), mode="lines", line={"color": color}, showlegend=False)
        figure.add_vline(x=fit.threshold, line={"color": color, "dash": "dot", "width": 1})
        figure.add_vrect(x0=fit.low, x1=fit.high, fillcolor=color, opacity=0.12, line_width=0)
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def confusion(table: pd.DataFrame) -> "Figure":
    """Shares of names, a row per injected concept; an empty name is shown as –."""
    rows = list(dict.fromkeys(table["concept"]))
    columns = [*rows, *sorted(set(table["named"]) - {*rows, ""}), *([""] if (table["named"] == "").any() else [])]
    counts = table.pivot_table(index="concept", columns="named", values="n", aggfunc="sum", fill_value=0)
    share = counts.div(counts.sum(axis=1), axis=0).reindex(index=rows, columns=columns, fill_value=0.0)
    figure = blank("named", "injected")
    figure.add_heatmap(
        z=share.to_numpy(dtype=float),
        x=[name or "–" for name in columns],
        y=rows,
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        colorscale=[[0, "#FFFFFF"], [1, COLORS[0]]],
        colorbar={"title": "share"},
    )
    figure.update_layout(height=max(420, 16 * len(rows) + 160))
    figure.update_xaxes(type="category")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def arms(table: pd.DataFrame) -> "Figure":
    """A bar for each arm and measure, with Wilson intervals."""
    figure = blank("", "rate")
    for number, (measure, label) in enumerate(MEASURES.items()):
        rows = table[table["measure"] == measure]
        figure.add_bar(
            x=rows["arm"],
            y=rows["value"],
            name=label,
            marker_color=COLORS[number],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["high"] - rows["value"],
                "arrayminus": rows["value"] - rows["low"],
            },
        )
    figure.update_layout(
        barmode="group", xaxis={"categoryorder": "array", "categoryarray": list(table["arm"].unique())}
    )
    figure.update_yaxes(range=[0, 1.05])
    return caption(figure, "To unrelated questions a claim is a yes. Intervals: Wilson, 95 %.")
