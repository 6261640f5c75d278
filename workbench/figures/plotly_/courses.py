"""Draws figures of the kind ``courses`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.courses import LABELS, CoursesInfo
from workbench.figures.plotly_.base import SYMBOLS, plain


def draw(figure: Any, info: CoursesInfo) -> None:
    """Every currency on one axis of shares; the legend turns lines on and off."""
    for way in info.ways:
        for track in way.tracks:
            figure.add_scatter(
                x=track.shares,
                y=track.means,
                mode="lines+markers",
                name=f"{plain(way.label)}, {LABELS[track.currency]}",
                legendgroup=plain(way.label),
                marker={"color": way.colour, "symbol": SYMBOLS[way.marker]},
                hovertext=f"peak {format_size(way.peak)}",
            )
    figure.update_xaxes(title="share of the amount that is used up")
    figure.update_yaxes(title=plain(info.metric))
