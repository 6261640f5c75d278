"""Draws figures of the kind ``gradients`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.gradients import GradientsInfo
from workbench.figures.plotly_.base import plain


def draw(figure: Any, info: GradientsInfo) -> None:
    """Methods side by side on one axis of columns; frozen and unrecorded cells stay empty."""
    import math

    columns = [(plain(f"{m.label} {s}"), m, j) for m in info.maps for j, s in enumerate(m.steps)]
    figure.add_heatmap(
        x=[name for name, _, _ in columns],
        y=[plain(layer) for layer in info.layers],
        z=[[math.log10(v) if (v := m.norms[i][j]) else None for _, m, j in columns] for i in range(len(info.layers))],
        colorscale="Viridis",
        colorbar={"title": "log10 norm"},
    )
    figure.update_yaxes(autorange="reversed")
