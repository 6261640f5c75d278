"""Draws figures of the kind ``extra_bytes`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.extra_bytes import ExtraBytesInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: ExtraBytesInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for line in info.lines:
        points = [p for p in line.points if p.score is not None]
        figure.add_scatter(
            x=[p.extra / 1024 for p in points], y=[p.score for p in points], mode="lines+markers+text",
            text=[plain(p.label) for p in points], textposition="top center", name=plain(line.group),
        )  # fmt: skip
    figure.update_xaxes(title="SRAM beyond training the head alone, KiB")
    figure.update_yaxes(title="test score")
