"""Draws papers by family as stacked bars of their status with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.papers import PapersInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: PapersInfo) -> None:
    """Draw ``info`` into a plotly figure, the largest family on top."""
    families = [plain(b.family) for b in info.bars]
    for i, (name, colour) in enumerate(zip(info.states, info.colours)):
        figure.add_bar(y=families, x=[b.counts[i] for b in info.bars], orientation="h", name=name, marker_color=colour)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="papers")
    figure.update_yaxes(autorange="reversed")
