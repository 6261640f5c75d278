"""Draws figures of the kind ``pareto`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.pareto import ParetoInfo, Place
from workbench.figures.plotly_.base import ALARM, SYMBOLS, mib, plain


def draw(figure: Any, info: ParetoInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for p in info.points:
        if p.peak is None or p.score is None:
            continue
        figure.add_scatter(
            x=[mib(p.peak)],
            y=[p.score],
            error_y=_bar(p.values["score"]),
            error_x=_bar(p.values["peak"], 2**20),
            mode="markers+text",
            text=[plain(p.label)],
            textposition="top center",
            name=plain(p.label),
            marker={"color": p.colour, "symbol": SYMBOLS[p.marker], "size": 11},
            hovertemplate=f"{plain(p.label)}: %{{y:.3f}} at {format_size(p.peak)} ({p.peak_kind})<extra></extra>",
        )
    if info.budget is not None:
        figure.add_vline(x=mib(info.budget), line_color=ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title="peak memory of one step, MiB")
    figure.update_yaxes(title=plain(info.metric))


def _bar(place: Place, unit: int = 1) -> dict[str, Any] | None:
    """The error bar of a place on one axis, in ``unit``."""
    if place.low is None or place.high is None:
        return None
    above, below = (place.high - place.at) / unit, (place.at - place.low) / unit
    return {"type": "data", "symmetric": False, "array": [above], "arrayminus": [below]}
