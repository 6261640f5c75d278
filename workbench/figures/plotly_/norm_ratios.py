"""Draws figures of the kind ``norm_ratios`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.norm_ratios import NormRatiosInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: NormRatiosInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for curve in info.curves:
        figure.add_scatter(
            x=[plain(layer) for layer in info.layers], y=curve.logarithms, mode="lines+markers", name=plain(curve.label)
        )
    figure.update_yaxes(title="log10 of weight norm / gradient norm")
