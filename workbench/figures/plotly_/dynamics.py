"""Draws figures of the kind ``dynamics`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.dynamics import DynamicsInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: DynamicsInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    figure.add_heatmap(
        x=[str(s) for s in info.steps], y=[plain(n) for n in info.layers], z=[list(line) for line in info.logarithms],
        colorscale="Cividis", colorbar={"title": "log10"},
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="step", type="category")
