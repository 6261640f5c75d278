"""Draws gradient norms as heat-maps on one shared logarithmic scale; frozen rows are hatched."""

from __future__ import annotations

import math
from typing import Any

from workbench.figures.gradients import GradientsInfo
from workbench.figures.layers import short
from workbench.figures.mpl.base import MAX_PANELS, blank, empty
from workbench.figures.svg import INK


def draw(info: GradientsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.maps or not info.layers:
        return empty("No run recorded gradient norms by layer.")
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    shown = info.maps[:MAX_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    height = max(1.5, 0.16 * len(info.layers) + 0.6)
    figure, axes = blank(rows * height + 0.4, rows, columns, sharey=True)
    low, high = info.low or 1e-6, info.high or 1.0
    norm = LogNorm(low, high if high > low else low * 10)
    image = None
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        grid = [[math.nan if v is None or v <= 0 else v for v in row] for row in shown[i].norms]
        image = axis.imshow(grid, aspect="auto", interpolation="none", norm=norm, cmap=colormaps["viridis"])
        _frame(axis, info, shown[i])
    if image is not None:
        figure.colorbar(image, ax=axes.ravel().tolist(), label="gradient norm", aspect=30, pad=0.01)
    return figure


def _frame(axis: Any, info: GradientsInfo, one: Any) -> None:
    every = max(1, math.ceil(len(info.layers) / 14))
    shown = range(0, len(info.layers), every)
    axis.set_yticks(list(shown), [short(info.layers[i]) for i in shown])
    count = len(one.steps)
    ticks = sorted({0, count // 2, count - 1}) if count else []
    axis.set_xticks(ticks, [str(one.steps[i]) for i in ticks])
    axis.set_title(one.label)
    axis.set_xlabel("step")
    start = 0
    while start < len(one.frozen):
        end = start
        while end < len(one.frozen) and one.frozen[end]:
            end += 1
        if end > start:
            axis.axhspan(start - 0.5, end - 0.5, facecolor="none", edgecolor=INK, hatch="////", linewidth=0, alpha=0.35)
            if end - start > 1:
                axis.text((count - 1) / 2, (start + end - 1) / 2, "frozen", ha="center", va="center", fontsize=9,
                          fontweight="bold")  # fmt: skip
        start = max(end, start + 1)
