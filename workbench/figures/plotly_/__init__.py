"""The same figures for exploring: plotly drawings of the same info, never a widget of their own."""

from __future__ import annotations

import importlib
from typing import Any

from workbench.figures.info import FigureInfo
from workbench.figures.plotly_.base import plain

__all__ = ["to_plotly"]


def to_plotly(info: FigureInfo) -> Any:
    """A ``plotly.graph_objects.Figure`` of any figure info; sizes are on axes in MiB and exact in hover text."""
    import plotly.graph_objects as go

    figure = go.Figure()
    importlib.import_module(f"workbench.figures.plotly_.{info.kind}").draw(figure, info)
    figure.update_layout(
        title=plain(info.title),
        template="plotly_white",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font_color="#808890",  # readable on light and on dark pages
        meta={"alt": plain(info.alt)},
    )
    return figure
