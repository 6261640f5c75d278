"""Draws live bytes along the step, one panel for each way of tuning, early order against late order."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.mpl.base import MAX_PANELS, blank, empty, size_axis
from workbench.figures.style import PALETTE
from workbench.figures.svg import INK
from workbench.figures.update_order import UpdateOrderInfo

LOOKS = ((PALETTE[0], "-"), (PALETTE[1], (0, (4, 2))))


def draw(info: UpdateOrderInfo) -> Any:
    """A matplotlib figure of ``info``: lines are everything alive, shaded is what of it are gradients."""
    from matplotlib.patches import Patch

    if not info.pairs:
        return empty("No step was captured.")
    shown = info.pairs[:MAX_PANELS]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure, axes = blank(2.3 * rows + 0.3, rows, columns)
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        pair = shown[i]
        for line, (colour, dash) in zip(pair.lines, LOOKS):
            axis.plot(line.at, line.live, color=colour, linestyle=dash, linewidth=1.5, label=line.label)
            axis.fill_between(line.at, line.gradients, color=colour, alpha=0.22, linewidth=0)
        high = max(line.peak for line in pair.lines) * 1.08 or 1
        axis.set_ylim(0, high)
        size_axis(axis.yaxis, 0, high)
        axis.set_xticks([0, 1], ["step begins", "ends"])
        axis.grid(True, axis="y")
        early, late = pair.lines
        gain = 1 - early.peak / late.peak if late.peak else 0.0
        axis.set_title(f"{pair.way}\npeak {format_size(early.peak)}, {gain:.1%} below the late order", fontsize=8.5)
    handles, _ = axes[0][0].get_legend_handles_labels()
    handles.append(Patch(facecolor=INK, alpha=0.22, label="of it gradients"))
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
