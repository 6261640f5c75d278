"""Draws score against each cost in panels, with a legend of arms, or of methods whose arms are named at the marks."""

from __future__ import annotations

import math
from typing import Any

from workbench.figures.mpl.base import MARKS, blank, empty, size_axis
from workbench.figures.svg import INK
from workbench.figures.trade import Cost, TradeInfo

FAR_RIGHT = 0.78  #: of a panel; from here on names stand left of their marks
MOST_TICKS = {2: 6, 3: 3}  #: by panels in a row: sizes with their unit are wide


def draw(info: TradeInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not any(cost.places for cost in info.costs):
        return empty(info.alt)
    named = bool(info.tags)
    entries = len({p.method for p in info.costs[0].places} if named else info.costs[0].places)
    columns, across = (2 if len(info.costs) == 4 else len(info.costs)), (5 if named else 3)
    rows = math.ceil(len(info.costs) / columns)
    figure, axes = blank(
        (4.3 if named else 3.0) * rows + 0.19 * math.ceil(entries / across), rows, columns, sharey=True
    )
    for axis, cost in zip(axes.flat, info.costs):
        _panel(axis, cost, MOST_TICKS.get(columns, 3))
        if named:
            _name(axis, cost, info)
    for first in axes[:, 0]:
        first.set_ylabel(info.y_label)
        if info.y_is_share:
            first.yaxis.set_major_formatter(lambda v, _: f"{v * 100:.4g} %" if 0 <= v <= 1 else "")
    handles, labels = axes[0][0].get_legend_handles_labels()
    if named:
        methods = {p.label: p.method for p in info.costs[0].places}
        by_method = {methods[label]: handle for handle, label in zip(handles, labels)}
        handles, labels = list(by_method.values()), list(by_method)
    figure.legend(handles, labels, loc="outside upper left", ncols=across, fontsize=8, handlelength=1.2)
    return figure


def _name(axis: Any, cost: Cost, info: TradeInfo) -> None:
    """Joins arms of one method and writes beside each mark what tells it from them."""
    by_label = {place.label: place for place in cost.places}
    for line in info.lines if cost.unit != "s" else ():  # times of a busy machine make no line
        found = [by_label[label] for label in line if label in by_label]
        if len(found) > 1:
            axis.plot([p.x for p in found], [p.y for p in found], color=found[0].colour, linewidth=1.1, zorder=1)
    across = axis.transData + axis.transAxes.inverted()
    for place in cost.places:
        left = across.transform((place.x, place.y))[0] > FAR_RIGHT
        axis.annotate(
            info.tags[place.label], (place.x, place.y), (-5 if left else 5, 4), textcoords="offset points", fontsize=7,
            color=place.colour, ha="right" if left else "left", clip_on=True,
        )  # fmt: skip
    for value, word in cost.rules:
        axis.axvline(value, color=INK, linewidth=0.8, linestyle=(0, (3, 3)), alpha=0.6)
        axis.annotate(word, (value, 0), (2, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      fontsize=7, rotation=90, ha="left", va="bottom")  # fmt: skip


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
        bottom, top = min(scores) - 0.15 * span, max(scores) + 0.15 * span
        shares = min(scores) >= 0 and max(scores) <= 1
        axis.set_ylim(max(bottom, -0.02) if shares else bottom, min(top, 1.02) if shares else top)
    seconds = cost.unit == "s"  # one slow run must not squeeze all others
    xs = [p.x for p in cost.places] if seconds else [x for p in cost.places for _, x, _ in p.seeds]
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
    axis.set_xlabel(cost.label if cost.unit in ("bytes", "share") else f"{cost.label}, {cost.unit}")
    if cost.unit == "share":
        axis.xaxis.set_major_formatter(lambda v, _: f"{v * 100:.4g} %")
    axis.grid(True, axis="y")
