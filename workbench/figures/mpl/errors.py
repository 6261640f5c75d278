"""Draws the error of each prediction in the order of the runs, one mark for each method."""

from __future__ import annotations

from typing import Any

from workbench.figures.errors import ErrorsInfo
from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.svg import INK


def draw(info: ErrorsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.points:
        return empty("No run has both a predicted and a measured peak.")
    figure, axes = blank(3.2)
    axis = axes[0][0]
    axis.axhline(0, color=INK, linewidth=0.8)
    for method in dict.fromkeys(p.method for p in info.points):
        own = [(i, p) for i, p in enumerate(info.points) if p.method == method]
        axis.plot([i for i, _ in own], [p.error * 100 for _, p in own], MARKS[own[0][1].marker],
                  color=own[0][1].colour, markersize=5.5, alpha=0.85, label=method)  # fmt: skip
    reach = max(abs(p.error) for p in info.points) * 115 or 0.1
    axis.set_ylim(-reach, reach)
    axis.yaxis.set_major_formatter(lambda v, _: f"{v:+.3g} %" if v else "0")
    axis.grid(True, axis="y")
    _dates(axis, info)
    figure.legend(loc="outside upper left", ncols=6, fontsize=8.5, handletextpad=0.2)
    return figure


def _dates(axis: Any, info: ErrorsInfo) -> None:
    """The first run of each day, as long as there is room; days with none have no width."""
    days = [p.created[:10] for p in info.points]
    starts = [i for i, day in enumerate(days) if i == 0 or day != days[i - 1]]
    room = max(1, len(days) // 7)
    kept: list[int] = []
    for i in starts:
        if not kept or i - kept[-1] >= room:
            kept.append(i)
    axis.set_xticks(kept, [days[i] or "undated" for i in kept])
    axis.set_xlabel("runs, oldest first; a date at the first run of its day")
    axis.margins(x=0.04)
