"""Draws choices as a raster: tensors across, choices down, filled where a tensor trains."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import blank, empty
from workbench.figures.schedule import ScheduleInfo
from workbench.figures.style import PALETTE
from workbench.figures.svg import INK

MOST = 40  #: lines in one drawing; the data hold all


def draw(info: ScheduleInfo) -> Any:
    """A matplotlib figure of ``info``."""
    from matplotlib.patches import Rectangle

    if not info.lines:
        return empty("No run chose what trains.")
    lines = info.lines[:MOST]
    figure, axes = blank(0.24 * len(lines) + 1.15)
    axis = axes[0][0]
    for row, line in enumerate(lines):
        for column, depth in enumerate(line.depths):
            if depth is not None:
                box = Rectangle((column, row + 0.1), 1, 0.8, facecolor=PALETTE[0], alpha=depth, linewidth=0)
                axis.add_patch(box)
        axis.axhline(row + 1, color=INK, linewidth=0.4, alpha=0.3)
    for stretch in info.stretches[1:]:
        axis.axvline(stretch.start, color=INK, linewidth=0.4, alpha=0.35)
    axis.set_xlim(0, len(info.tensors))
    axis.set_ylim(len(lines), 0)
    names = [f"{_said(line.label, lines, i)}epoch {line.epoch + 1}, {line.share:.1%}" for i, line in enumerate(lines)]
    axis.set_yticks([i + 0.5 for i in range(len(lines))], names)
    _blocks(axis, info)
    axis.set_xlabel("block of the tensor, from the output to the input")
    axis.set_title("share of full tuning's operations at each line", fontsize=8.5, fontweight="normal")
    return figure


def _said(label: str, lines: Any, row: int) -> str:
    """The arm's name where its lines begin."""
    return f"{label}: " if row == 0 or lines[row - 1].label != label else ""


def _blocks(axis: Any, info: ScheduleInfo) -> None:
    """Names of the wider stretches, as many as there is room for."""
    least = len(info.tensors) / 34
    wide = [s for s in info.stretches if s.end - s.start >= least]
    axis.set_xticks([(s.start + s.end) / 2 for s in wide], [s.label for s in wide])
