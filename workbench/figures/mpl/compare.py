"""Prints the facts in which runs differ as a plain table; all others are in the data."""

from __future__ import annotations

import textwrap
from typing import Any

from workbench.figures.compare import CompareInfo
from workbench.figures.mpl.base import MAX_PANELS, blank, empty

MAX_LINES = 30
WIDTH = 26  #: characters of a cell before it is broken


def draw(info: CompareInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.columns:
        return empty("No runs to compare.")
    shown = [line for line in info.lines if line.differs or len(info.columns) == 1][:MAX_LINES]
    if not shown:
        return empty("The runs do not differ in anything that was recorded.")
    columns = min(len(info.columns), MAX_PANELS // 2)
    cells = [[line.name, *line.values[:columns]] for line in shown]
    heading = ["", *info.columns[:columns]]
    wrapped = [[textwrap.wrap(str(text), WIDTH)[:3] or [""] for text in row] for row in (heading, *cells)]
    heights = [max(map(len, row)) for row in wrapped]
    figure, axes = blank(0.19 * sum(heights) + 0.08 * len(heights) + 0.2)
    axis = axes[0][0]
    axis.axis("off")
    axis.set(xlim=(0, columns + 1), ylim=(sum(heights) + 0.4 * len(heights), 0))
    y = 0.0
    for i, (row, height) in enumerate(zip(wrapped, heights)):
        for j, text in enumerate(row):
            weight = "bold" if i == 0 or j == 0 else "normal"
            axis.text(j + 0.02, y, "\n".join(text), va="top", ha="left", fontsize=8, fontweight=weight)
        y += height + 0.4
    return figure
