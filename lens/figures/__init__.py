"""Figures: plotly pictures of the tidy tables. Plotly loads on first use."""

from lens.figures.detection import (
    cosine_map,
    layer_curve,
    reliability_diagram,
    roc_curve,
    score_histogram,
    transfer_map,
)
from lens.figures.steering import additivity_bars, dose_response, spillover_map

__all__ = [
    "additivity_bars",
    "cosine_map",
    "dose_response",
    "layer_curve",
    "reliability_diagram",
    "roc_curve",
    "score_histogram",
    "spillover_map",
    "transfer_map",
]
