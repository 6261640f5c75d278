"""Draws bytes kept by block as three bars side by side."""

from __future__ import annotations

from typing import Any

from workbench.figures.kept_by_block import KeptByBlockInfo
from workbench.figures.mpl.base import blank, empty, size_axis
from workbench.figures.style import PALETTE
from workbench.figures.svg import INK

WIDTH = 0.27
HATCHES = ("", "///", "...")


def draw(info: KeptByBlockInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.blocks:
        return empty("No block was looked at.")
    figure, axes = blank(3.2)
    axis = axes[0][0]
    for place, (bars, colour, hatch) in enumerate(zip(info.bars, PALETTE, HATCHES)):
        left = [i + (place - 1) * WIDTH for i in range(len(info.blocks))]
        axis.bar(left, bars.sizes, WIDTH, color=colour, edgecolor=INK, linewidth=0.3, hatch=hatch, label=bars.label)
    axis.set_xticks(range(len(info.blocks)), info.blocks)
    axis.set_xlabel("block, in forward order")
    axis.set_ylabel("kept for backward")
    size_axis(axis.yaxis, 0, max(max(b.sizes) for b in info.bars) * 1.1)
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
