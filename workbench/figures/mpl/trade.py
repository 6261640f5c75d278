"""Draws score against each cost in panels of one row, with a legend for all of them."""

from __future__ import annotations

import math
from typing import Any

from workbench.figures.mpl.base import MARKS, blank, empty, size_axis
from workbench.figures.trade import Cost, TradeInfo

MOST_TICKS = {2: 6, 3: 3}  #: by panels in a row: sizes with their unit are wide


def draw(info: TradeInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not any(cost.places for cost in info.costs):
        return empty(info.alt)
    arms = len(info.costs[0].places)
    columns = 2 if len(info.costs) == 4 else len(info.costs)
    rows = math.ceil(len(info.costs) / columns)
    figure, axes = blank(3.0 * rows + 0.19 * math.ceil(arms / 3), rows, columns, sharey=True)
    for axis, cost in zip(axes.flat, info.costs):
        _panel(axis, cost, MOST_TICKS.get(columns, 3))
    for first in axes[:, 0]:
        first.set_ylabel(info.y_label)
        if info.y_is_share:
            first.yaxis.set_major_formatter(lambda v, _: f"{v * 100:.4g} %" if 0 <= v <= 1 else "")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8, handlelength=1.2)
    return figure


def _panel(axis: Any, cost: Cost, most_ticks: int) -> None:
    for place in cost.places:
        marker = MARKS[place.marker]
        for _, x, y in place.seeds:
            axis.plot(x, y, marker, markersize=2.5, color=place.colour, alpha=0.45)
        if place.low is not None:
            axis.plot([place.x, place.x], [place.low, place.high], color=place.colour, linewidth=1.0, alpha=0.6)
        axis.plot(place.x, place.y, marker, markersize=7, color=place.colour, label=place.label)
    scores = [y for p in cost.places for _, _, y in p.seeds]
    if scores:  # intervals of three seeds may reach far beyond any score
        span = (max(scores) - min(scores)) or 0.05
        axis.set_ylim(min(scores) - 0.15 * span, max(scores) + 0.15 * span)
    xs = [x for p in cost.places for _, x, _ in p.seeds]
    lowest, highest = (min(xs) / 1.3 if cost.log else 0), max(xs, default=1.0) * (1.3 if cost.log else 1.08)
    if cost.log:
        axis.set_xscale("log")
    axis.set_xlim(lowest, highest)
    if cost.unit == "bytes":
        size_axis(axis.xaxis, lowest, highest, log=cost.log)
        ticks = axis.get_xticks()
        labels = [t.get_text() for t in axis.get_xticklabels()]
        every = max(1, -(-len(ticks) // most_ticks))
        axis.set_xticks(ticks[::every], labels[::every])
    elif cost.log:
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_xlabel(cost.label if cost.unit == "bytes" else f"{cost.label}, {cost.unit}")
    axis.grid(True, axis="y")
