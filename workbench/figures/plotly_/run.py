"""Draws figures of the kind ``run`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import ALARM, mib
from workbench.figures.run import RunInfo


def draw(figure: Any, info: RunInfo) -> None:
    """Loss on the left axis, peaks and budget on the right; what the step is made of is in the panel and the print."""
    figure.add_scatter(x=info.steps, y=info.losses, mode="lines", name="loss", line={"color": info.colours[0]})
    peaks = [None if peak is None else mib(peak) for peak in info.peaks]
    figure.add_scatter(x=info.steps, y=peaks, mode="lines", name="peak of the step", yaxis="y2",
                       line={"color": info.colours[3], "dash": "dot", "shape": "vh"})  # fmt: skip
    for pin in info.pins:
        figure.add_scatter(x=pin.steps, y=pin.losses, mode="lines", name=pin.name, line={"dash": "dash"})
    figure.update_layout(yaxis2={"title": "peak, MiB", "overlaying": "y", "side": "right", "rangemode": "tozero"})
    if info.budget is not None:
        figure.add_hline(y=mib(info.budget), yref="y2", line_color=ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title="step")
    figure.update_yaxes(title="training loss", selector={"overlaying": None})
