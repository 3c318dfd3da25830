"""Steering: what directions do, to their own behaviour and to others, and what interventions do together."""

from typing import TYPE_CHECKING

import pandas as pd

from lens.figures.base import COLORS, GRAY, band, blank, caption, need

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

UNITS = {"norm": "residual norms", "difference": "class differences", "raw": "raw units"}
FADED = 0.25


def dose_response(curve: pd.DataFrame, *, coherence: bool = True, working: pd.DataFrame | None = None) -> "Figure":
    """A dose-response table: the direction with its interval, random directions, the prompt, and coherence.

    working: its `steering.working_range`; the strengths from low to high are shaded.
    """
    need(curve, "arm", "strength", "value", "low", "high", "coherence", "measure", "unit")
    figure = blank(f"strength ({UNITS.get(curve['unit'].iloc[0], '')})", curve["measure"].iloc[0])
    if working is not None:
        need(working, "low", "high")
        for number, (_, row) in enumerate(working[working["low"].notna()].iterrows()):
            # A range of one strength has no width; it would not be seen.
            margin = 0.02 * curve["strength"].abs().max()
            ends = sorted((row["low"], row["high"]))
            figure.add_vrect(
                x0=ends[0] - margin, x1=ends[1] + margin, fillcolor=COLORS[4], opacity=0.18, line_width=0, layer="below"
            )
            if number == 0:
                figure.add_scatter(
                    x=[None],
                    y=[None],
                    mode="markers",
                    name="working range",
                    marker={"color": COLORS[4], "opacity": 0.4, "symbol": "square", "size": 12},
                )
    arms = {"direction": ("this direction", COLORS[0]), "random": ("random directions, same norm", GRAY)}
    for arm, (label, color) in arms.items():
        rows = curve[curve["arm"] == arm].sort_values("strength")
        if len(rows):
            band(figure, rows["strength"], rows["low"], rows["high"], color)
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
        figure.add_scatter(
            x=[own["strength"].min(), own["strength"].max()],
            y=[row["value"], row["value"]],
            mode="lines",
            name="asked for by prompt",
            line={"color": COLORS[4], "dash": "dash"},
        )
    if curve["low"].min() >= 0 and curve["high"].max() <= 1:
        figure.update_yaxes(range=[-0.03, 1.05])
    return figure


def spillover_map(table: pd.DataFrame) -> "Figure":
    """Heat map of what each steered direction (rows, with its strength) does to each measure and probe (columns), as
    `steering.spillover` gives: the change, starred where it is clear, faded where it is not, and its interval.

    Measures and probes have units of their own: the colour is the share of the largest change of the same kind.
    """
    need(table, "steered", "strength", "read", "kind", "change", "low", "high", "clear", "reason")
    largest = table.groupby("kind")["change"].transform(lambda one: one.abs().max())
    several = table["kind"].nunique() > 1
    cells = table.assign(
        row=[f"{row['steered']}, {row['strength']:+g}" for _, row in table.iterrows()],
        column=table["read"] + ("<br><sub>" + table["kind"] + "</sub>" if several else ""),
        shade=table["change"] / largest.where(largest > 0, 1.0) * table["clear"].map({True: 1.0, False: FADED}),
        text=[_cell(row) for _, row in table.iterrows()],
        hover=[row["reason"] or _told(row) for _, row in table.iterrows()],
    )
    rows, columns = (list(dict.fromkeys(cells[name])) for name in ("row", "column"))
    square = {
        name: cells.pivot(index="row", columns="column", values=name).loc[rows, columns].to_numpy()
        for name in ("shade", "text", "hover")
    }
    figure = blank("read", "steered")
    figure.add_heatmap(
        z=square["shade"].astype(float),
        x=columns,
        y=rows,
        text=square["text"],
        customdata=square["hover"],
        texttemplate="%{text}",
        textfont={"size": 12},
        hovertemplate="%{customdata}<extra></extra>",
        zmin=-1,
        zmax=1,
        zmid=0,
        xgap=2,
        ygap=2,
        showscale=False,
        colorscale=[[0, COLORS[0]], [0.5, "#FFFFFF"], [1, COLORS[1]]],
    )
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return caption(figure, "* clear of zero and of random directions; faded: not. Orange: more of it; blue: less.")


def additivity_bars(table: pd.DataFrame) -> "Figure":
    """What each intervention does alone, their sum, all together, and the interaction, as `steering.additivity` gives,
    with 95 % intervals."""
    need(table, "arm", "kind", "change", "low", "high", "measure")
    colors = {"alone": COLORS[5], "sum": GRAY, "together": COLORS[0], "interaction": COLORS[1]}
    figure = blank(f"change of {table['measure'].iloc[0]}", "")
    figure.add_bar(
        x=table["change"],
        y=table["arm"],
        orientation="h",
        marker_color=[colors[kind] for kind in table["kind"]],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": table["high"] - table["change"],
            "arrayminus": table["change"] - table["low"],
        },
    )
    figure.update_yaxes(autorange="reversed")
    return caption(figure, "Interaction: together less the sum of parts; where its interval holds 0, they may add up.")


def _cell(row: pd.Series) -> str:
    if row["change"] != row["change"]:
        return "–"
    # Adding 0 makes 0 of -0.
    change, low, high = (round(float(row[name]), 2) + 0.0 for name in ("change", "low", "high"))
    return f"{change:+.2f}{'*' if row['clear'] else ''}<br>{low:+.2f} to {high:+.2f}"


def _told(row: pd.Series) -> str:
    return f"{row['steered']} → {row['read']}: {row['change']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
