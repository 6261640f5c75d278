"""Draws figures of the kind ``saved`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import mib, plain
from workbench.figures.saved import SavedInfo


def draw(figure: Any, info: SavedInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for b in info.bars:
        figure.add_bar(
            y=[plain(layer) for layer in info.layers], x=[mib(v) for v in b.sizes], orientation="h",
            name=plain(b.label), marker_color=b.colour,
        )  # fmt: skip
    figure.update_xaxes(title="saved for backward, MiB")
    figure.update_yaxes(autorange="reversed")
