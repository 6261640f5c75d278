"""Draws figures of the kind ``drawings`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.drawings import DrawingsInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: DrawingsInfo) -> None:
    """Draw ``info`` into a plotly figure: all pictures as one map of grey values, the first line on top."""
    ticks = []
    for number, (label, note, pictures) in enumerate(info.lines):
        side = len(pictures[0])
        top = -number * (side + 2)
        ticks.append((top - side / 2, plain(f"{label}, {note}" if note else label)))
        for place, picture in enumerate(pictures):
            left = place * (side + 1)
            figure.add_heatmap(
                z=picture, x=list(range(left, left + side)), y=[top - y for y in range(side)],
                colorscale="gray", zmin=0, zmax=255, showscale=False, hoverinfo="z",
            )  # fmt: skip
    figure.update_yaxes(tickvals=[t for t, _ in ticks], ticktext=[t for _, t in ticks], showgrid=False)
    figure.update_xaxes(visible=False, scaleanchor="y")
