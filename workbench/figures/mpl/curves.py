"""Draws loss curves: light seeds, strong means, names at the line ends."""

from __future__ import annotations

from typing import Any

from workbench.figures.curves import CurvesInfo
from workbench.figures.mpl.base import MAX_PANELS, blank, empty

DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))


def draw(info: CurvesInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.curves:
        return empty("No run took a step.")
    figure, axes = blank(3.6)
    axis = axes[0][0]
    for i, curve in enumerate(info.curves):
        for line in curve.seeds:
            if len(curve.seeds) > 1 and len(info.curves) <= MAX_PANELS:
                axis.plot(line.steps, line.losses, color=curve.colour, linewidth=0.7, alpha=0.3)
        axis.plot(curve.steps, curve.mean, color=curve.colour, linewidth=1.8, linestyle=DASHES[i % len(DASHES)])
    axis.grid(True, axis="y")
    axis.set_xlabel("step")
    axis.set_ylabel("training loss")
    axis.margins(x=0.01)
    _names(figure, axis, info)
    return figure


def _names(figure: Any, axis: Any, info: CurvesInfo) -> None:
    """Names right of the last step, pushed apart so that none covers another, tied to their line's end."""
    figure.draw_without_rendering()
    ends = sorted((c.mean[-1], c.label, c.colour, c.steps[-1]) for c in info.curves if c.mean)
    pixels = [float(axis.transData.transform((0, e[0]))[1]) for e in ends]
    room = 13.0
    for i in range(1, len(pixels)):
        pixels[i] = max(pixels[i], pixels[i - 1] + room)
    top = axis.get_window_extent().y1
    overflow = max(0.0, (pixels[-1] - top) if pixels else 0.0)
    for (value, label, colour, step), y in zip(ends, pixels):
        height = axis.transData.inverted().transform((0, y - overflow))[1]
        axis.annotate(label, (step, value), xytext=(1.03, height), textcoords=("axes fraction", "data"), va="center",
                      fontsize=8.5, arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7})  # fmt: skip
