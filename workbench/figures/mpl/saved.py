"""Draws bytes saved for backward as rows of layers, one panel for each method."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.layers import short
from workbench.figures.mpl.base import MAX_PANELS, blank, empty, size_axis
from workbench.figures.saved import SavedInfo


def draw(info: SavedInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.bars or not info.layers:
        return empty("Nothing is kept for the backward pass.")
    shown = sorted(info.bars, key=lambda b: -b.total)[:MAX_PANELS] if len(info.bars) > MAX_PANELS else info.bars
    columns = len(shown) if len(shown) <= 5 else 4
    rows = -(-len(shown) // columns)
    height = max(1.2, 0.17 * len(info.layers) + 0.7)
    figure, axes = blank(rows * height, rows, columns, sharey=True, sharex=True)
    high = max(max(b.sizes) for b in info.bars) * 1.05 or 1
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        bar = shown[i]
        axis.barh(range(len(info.layers)), bar.sizes, color=bar.colour, height=0.78)
        axis.set_yticks(range(len(info.layers)), [short(name) for name in info.layers])
        axis.set_xlim(0, high)
        size_axis(axis.xaxis, 0, high)
        ticks = [t for t in axis.get_xticks() if t <= high]
        axis.xaxis.set_ticks(ticks if columns <= 2 else [ticks[0], ticks[-1]])  # more would run into each other
        axis.xaxis.set_major_formatter(lambda v, _: format_size(v) if v else "0")
        axis.grid(True, axis="x")
        axis.set_title(f"{bar.label}\n{format_size(bar.total)} in all")
    axes[0][0].invert_yaxis()
    return figure
