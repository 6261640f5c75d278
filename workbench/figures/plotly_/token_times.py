"""Draws figures of the kind ``token_times`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.token_times import TokenTimesInfo


def draw(figure: Any, info: TokenTimesInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    figure.add_scatter(x=info.times, y=info.wrong, name="other tokens")
    figure.add_scatter(x=info.times, y=info.right, name="learned token")
    figure.add_vrect(x0=info.window[0], x1=info.window[1], opacity=0.1, line_width=0, fillcolor="#808890")
    figure.update_xaxes(title="time (0: picture, 1: noise)")
    figure.update_yaxes(title="loss", rangemode="tozero")
