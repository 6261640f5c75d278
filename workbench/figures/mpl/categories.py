"""Draws the peak of each method as one stacked bar against the budget."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.categories import CategoriesInfo
from workbench.figures.mpl.base import BUDGET, blank, category_legend, empty, size_axis
from workbench.figures.style import CATEGORY_HATCHES
from workbench.figures.svg import INK


def draw(info: CategoriesInfo) -> Any:
    """A matplotlib figure of ``info``, lowest peak on top."""
    if not info.bars:
        return empty("No run recorded a memory profile.")
    figure, axes = blank(0.9 + 0.34 * len(info.bars))
    axis = axes[0][0]
    names = []
    for y, bar in enumerate(info.bars):
        left = 0
        for category, colour, size in zip(info.categories, info.colours, bar.sizes):
            if size:
                axis.barh(y, size, left=left, color=colour, edgecolor=INK, linewidth=0.4, height=0.66,
                          hatch=CATEGORY_HATCHES.get(category, ""))  # fmt: skip
            left += size
        over = "" if bar.fits is not False else " ✕"
        axis.annotate(f"{format_size(bar.peak)}{over}", (left, y), xytext=(5, 0), textcoords="offset points",
                      va="center", fontsize=8.5)  # fmt: skip
        names.append(bar.label + ("" if bar.source.startswith("measured") else " (predicted)"))
    axis.set_yticks(range(len(info.bars)), names)
    high = max([b.peak for b in info.bars] + ([info.budget] if info.budget else [])) * 1.12
    axis.set_xlim(0, high)
    axis.set_ylim(len(info.bars) - 0.4, -0.6)
    size_axis(axis.xaxis, 0, high)
    axis.grid(True, axis="x")
    if info.budget is not None:
        axis.axvline(info.budget, color=BUDGET, linewidth=1.3, linestyle=(0, (5, 2)))
    category_legend(figure, info.categories, info.colours, info.budget)
    return figure
