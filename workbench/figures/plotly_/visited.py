"""Draws figures of the kind ``visited`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import plain
from workbench.figures.visited import VisitedInfo


def draw(figure: Any, info: VisitedInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for way in info.ways:
        figure.add_bar(
            y=[plain(layer) for layer in info.layers], x=[v / 1e9 for v in way.backward_flops], orientation="h",
            name=plain(way.label),
        )  # fmt: skip
    figure.update_xaxes(title="operations of the backward pass, GFLOP")
    figure.update_yaxes(autorange="reversed")
