"""Draws figures of the kind ``timeline`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import ALARM, mib, plain
from workbench.figures.timeline import TimelineInfo


def draw(figure: Any, info: TimelineInfo) -> None:
    """The highest step; the other methods are in the interactive panel and in the printed small multiples."""
    if not info.steps:
        return
    step = max(info.steps, key=lambda s: s.peak)
    for name, colour in zip(info.categories, info.colours):
        figure.add_scatter(
            x=step.events, y=[mib(v) for v in step.live[name]], stackgroup="live", name=name, line={"color": colour},
            mode="lines",
        )  # fmt: skip
    if info.budget is not None:
        figure.add_hline(y=mib(info.budget), line_color=ALARM, line_dash="dash", annotation_text="budget")
    figure.update_xaxes(title=f"event of one step, {plain(step.label)}")
    figure.update_yaxes(title="live, MiB")
