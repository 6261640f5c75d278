"""Draws score against extra bytes, one line for each family of schemes."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.extra_bytes import ExtraBytesInfo
from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.style import MARKERS, PALETTE

LINEAR = 1024  #: bytes below which the axis is linear


def draw(info: ExtraBytesInfo) -> Any:
    """A matplotlib figure of ``info``."""
    known = [p for line in info.lines for p in line.points if p.score is not None]
    if not known:
        return empty("No scheme has a score.")
    figure, axes = blank(3.4)
    axis = axes[0][0]
    for row, (line, colour, marker) in enumerate(zip(info.lines, PALETTE, MARKERS)):
        points = [p for p in line.points if p.score is not None]
        sizes, scores = [p.extra for p in points], [p.score for p in points]
        axis.plot(sizes, scores, color=colour, marker=MARKS[marker], markersize=6, linewidth=1.2, label=line.group)
        spans = [p for p in points if p.low is not None]
        axis.vlines(
            [p.extra for p in spans], [p.low for p in spans], [p.high for p in spans], color=colour, linewidth=0.9
        )
        for place, p in enumerate(points):  # neighbours stand close: one label above, the next below
            beside = (4, -11 if place % 2 or row == 2 else 5)  # and the searched scheme may be the head alone
            axis.annotate(p.label, (p.extra, p.score), xytext=beside, textcoords="offset points", fontsize=7.5)
    high = max(p.extra for p in known) * 1.1 or 1
    axis.set_xscale("symlog", linthresh=LINEAR)  # zero is the head alone, and the first schemes cost little
    axis.set_xlim(-LINEAR / 4, 1.6 * high)
    ticks = [0, *(LINEAR * 4**i for i in range(12) if LINEAR * 4**i <= high)]
    axis.set_xticks(ticks, [format_size(t) if t else "0" for t in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("SRAM beyond training the head alone")
    axis.set_ylabel("test score")
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
