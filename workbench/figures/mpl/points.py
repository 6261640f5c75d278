"""Draws marks with their seeds on two axes, named where there is room, and a rule to compare with."""

from __future__ import annotations

import textwrap
from typing import Any

from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.mpl.labels import put_labels
from workbench.figures.points import PointsInfo
from workbench.figures.svg import INK

WIDE = 44  #: characters of a label beside the axis in a line


def draw(info: PointsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.places:
        return empty(info.alt)
    figure, axes = blank(4.0)
    axis = axes[0][0]
    for place in info.places:
        marker = MARKS[place.marker]
        for _, x, y in place.seeds:
            axis.plot(x, y, marker, markersize=3, color=place.colour, alpha=0.45)
        if place.low is not None:
            axis.plot([place.x, place.x], [place.low, place.high], color=place.colour, linewidth=1.6)
        axis.plot(place.x, place.y, marker, markersize=8.5, color=place.colour)
    if info.rule is not None:
        axis.axhline(info.rule, color=INK, linewidth=1, linestyle=(0, (4, 2)), alpha=0.7)
        axis.annotate(info.rule_label, (0.0, info.rule), xycoords=("axes fraction", "data"), xytext=(4, 3),
                      textcoords="offset points", fontsize=8.5)  # fmt: skip
    _limits(axis, info)
    axis.set_xlabel(info.x_label)
    axis.set_ylabel(textwrap.fill(info.y_label, WIDE))
    axis.grid(True, axis="y")
    if info.y_is_share:
        axis.yaxis.set_major_formatter(lambda v, _: f"{v * 100:.4g} %" if 0 <= v <= 1 else "")
    _label(figure, axis, info)
    return figure


def _limits(axis: Any, info: PointsInfo) -> None:
    xs = [x for p in info.places for _, x, _ in p.seeds]
    ys = [v for p in info.places for v in (p.low, p.high, *(y for _, _, y in p.seeds)) if v is not None]
    ys += [info.rule] if info.rule is not None else []
    for values, setter, zero in ((xs, axis.set_xlim, info.x_from_zero), (ys, axis.set_ylim, False)):
        low, high = min(values), max(values)
        span = (high - low) or abs(high) * 0.1 or 0.1
        bottom, top = 0 if zero else low - span * 0.15, high + span * 0.25
        if setter == axis.set_ylim and info.y_is_share:  # a share: nothing lies outside of 0 and 1
            bottom, top = max(bottom, -0.02), min(top, 1.02)
        setter(bottom, top)


def _label(figure: Any, axis: Any, info: PointsInfo) -> None:
    figure.draw_without_rendering()
    obstacles = []
    for place in info.places:
        if place.low is not None and place.high is not None:
            x, bottom = axis.transData.transform((place.x, place.low))
            obstacles.append((x - 3, bottom, x + 3, axis.transData.transform((place.x, place.high))[1]))
    if info.rule is not None:
        frame, y = axis.get_window_extent(), axis.transData.transform((0, info.rule))[1]
        obstacles.append((frame.x0, y - 2, frame.x1, y + 2))
    put_labels(axis, [(place.x, place.y, place.label) for place in info.places], obstacles)
