"""Draws figures of the kind ``points`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import SYMBOLS, plain
from workbench.figures.points import PointsInfo


def draw(figure: Any, info: PointsInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for p in info.places:
        error = None
        if p.low is not None and p.high is not None:
            error = {"array": [p.high - p.y], "arrayminus": [p.y - p.low]}
        figure.add_scatter(x=[p.x], y=[p.y], error_y=error, mode="markers", name=plain(p.label),
                           marker={"color": p.colour, "symbol": SYMBOLS[p.marker], "size": 11})  # fmt: skip
        figure.add_scatter(x=[x for _, x, _ in p.seeds], y=[y for _, _, y in p.seeds], mode="markers", showlegend=False,
                           hovertext=[f"seed {seed}" for seed, _, _ in p.seeds], name=plain(p.label),
                           marker={"color": p.colour, "symbol": SYMBOLS[p.marker], "size": 5})  # fmt: skip
    if info.rule is not None:
        figure.add_hline(y=info.rule, line_dash="dash", annotation_text=plain(info.rule_label))
    figure.update_xaxes(title=plain(info.x_label), rangemode="tozero" if info.x_from_zero else "normal")
    figure.update_yaxes(title=plain(info.y_label))
