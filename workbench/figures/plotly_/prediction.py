"""Draws figures of the kind ``prediction`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import SYMBOLS, mib, plain
from workbench.figures.prediction import PredictionInfo


def draw(figure: Any, info: PredictionInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for p in info.points:
        figure.add_scatter(
            x=[mib(p.measured)], y=[mib(p.predicted)], mode="markers", name=plain(p.label),
            marker={"color": p.colour, "symbol": SYMBOLS[p.marker], "size": 9},
            hovertemplate=f"{plain(p.run)}: {p.error:+.2%}<extra></extra>",
        )  # fmt: skip
    ends = (
        [mib(f(v for p in info.points for v in (p.measured, p.predicted))) for f in (min, max)] if info.points else []
    )
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"dash": "dot", "color": "#808890"}, name="no error")
    figure.update_xaxes(title="measured peak, MiB")
    figure.update_yaxes(title="predicted peak, MiB")
