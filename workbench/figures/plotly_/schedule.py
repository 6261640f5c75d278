"""Draws figures of the kind ``schedule`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import plain
from workbench.figures.schedule import ScheduleInfo


def draw(figure: Any, info: ScheduleInfo) -> None:
    """What trains, the darker the more important, with the importance itself when pointed at."""
    figure.add_heatmap(
        z=[line.depths for line in info.lines], zmin=0, zmax=1, colorscale="Blues", showscale=False, xgap=1, ygap=2,
        x=[plain(name) for name in info.tensors], text=[line.importance for line in info.lines],
        y=[plain(f"{line.label}, epoch {line.epoch + 1}: {line.share:.1%}") for line in info.lines],
        hovertemplate="%{y}<br>%{x}<br>importance %{text:.3g}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="tensor, from the output to the input", showticklabels=False)
    figure.update_yaxes(autorange="reversed")
