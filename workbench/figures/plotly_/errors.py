"""Draws the error of each prediction in the order of the runs with plotly, one mark for each method."""

from __future__ import annotations

from typing import Any

from workbench.figures.errors import ErrorsInfo
from workbench.figures.plotly_.base import SYMBOLS, plain


def draw(figure: Any, info: ErrorsInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for method in dict.fromkeys(p.method for p in info.points):
        own = [(i, p) for i, p in enumerate(info.points, 1) if p.method == method]
        figure.add_scatter(
            x=[i for i, _ in own], y=[p.error for _, p in own], mode="markers", name=plain(method),
            hovertext=[plain(f"{p.model}, {p.created[:10]}: {p.difference:+,} bytes") for _, p in own],
            marker={"color": own[0][1].colour, "symbol": SYMBOLS[own[0][1].marker], "size": 8},
        )  # fmt: skip
    figure.add_hline(y=0, line_width=1)
    figure.update_xaxes(title="runs, oldest first")
    figure.update_yaxes(title="predicted minus measured, share of measured", tickformat="+.3p")
