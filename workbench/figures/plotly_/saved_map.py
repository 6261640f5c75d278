"""Draws figures of the kind ``saved_map`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import mib, plain
from workbench.figures.saved_map import SavedMapInfo


def draw(figure: Any, info: SavedMapInfo) -> None:
    """Draw ``info`` into a plotly figure: one bar a layer for each combination that differs in one toggle."""
    for place in info.one_change():
        figure.add_bar(
            y=[plain(layer) for layer in info.layers],
            x=[mib(sum(info.splits[i])) for i in info.states[place].splits],
            orientation="h",
            name=plain(info.label(place)),
        )
    figure.update_xaxes(title="kept for backward, MiB")
    figure.update_yaxes(autorange="reversed")
