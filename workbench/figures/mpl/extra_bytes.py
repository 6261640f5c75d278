"""Draws score against extra bytes, one line for each family of schemes."""

from __future__ import annotations

from typing import Any

from workbench.figures.extra_bytes import ExtraBytesInfo
from workbench.figures.mpl.base import MARKS, blank, empty, size_axis
from workbench.figures.style import MARKERS, PALETTE


def draw(info: ExtraBytesInfo) -> Any:
    """A matplotlib figure of ``info``."""
    known = [p for line in info.lines for p in line.points if p.score is not None]
    if not known:
        return empty("No scheme has a score.")
    figure, axes = blank(3.4)
    axis = axes[0][0]
    for line, colour, marker in zip(info.lines, PALETTE, MARKERS):
        points = [p for p in line.points if p.score is not None]
        sizes, scores = [p.extra for p in points], [p.score for p in points]
        axis.plot(sizes, scores, color=colour, marker=MARKS[marker], markersize=6, linewidth=1.2, label=line.group)
        spans = [p for p in points if p.low is not None]
        axis.vlines(
            [p.extra for p in spans], [p.low for p in spans], [p.high for p in spans], color=colour, linewidth=0.9
        )
        for p in points:
            axis.annotate(p.label, (p.extra, p.score), xytext=(4, 5), textcoords="offset points", fontsize=7.5)
    high = max(p.extra for p in known) * 1.1 or 1
    axis.set_xlim(-0.03 * high, high)
    size_axis(axis.xaxis, 0, high)
    axis.set_xlabel("SRAM beyond training the head alone")
    axis.set_ylabel("test score")
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
