"""Draws figures of the kind ``curves`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.curves import CurvesInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: CurvesInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for c in info.curves:
        for line in c.seeds:
            figure.add_scatter(
                x=line.steps, y=line.losses, mode="lines", opacity=0.3, showlegend=False, line={"color": c.colour},
                hoverinfo="skip",
            )  # fmt: skip
        figure.add_scatter(x=c.steps, y=c.mean, mode="lines", name=plain(c.label), line={"color": c.colour, "width": 3})
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="training loss")
