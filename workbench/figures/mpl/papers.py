"""Draws papers by family as stacked bars of their status."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import blank, empty
from workbench.figures.papers import PapersInfo
from workbench.figures.svg import INK

HATCHES = ("", "/", "")


def draw(info: PapersInfo) -> Any:
    """A matplotlib figure of ``info``, the largest family on top."""
    if not info.bars:
        return empty("The map of papers is empty.")
    from matplotlib.ticker import MaxNLocator

    figure, axes = blank(0.8 + 0.28 * len(info.bars))
    axis = axes[0][0]
    left = [0] * len(info.bars)
    for i, (name, colour) in enumerate(zip(info.states, info.colours)):
        counts = [b.counts[i] for b in info.bars]
        axis.barh(range(len(info.bars)), counts, left=left, color=colour, edgecolor=INK, linewidth=0.4, height=0.7,
                  hatch=HATCHES[i], label=name)  # fmt: skip
        left = [x + c for x, c in zip(left, counts)]
    for y, (bar, total) in enumerate(zip(info.bars, left)):
        axis.annotate(f"{bar.counts[0]} of {total}", (total, y), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=8.5)  # fmt: skip
    axis.set_yticks(range(len(info.bars)), [b.family for b in info.bars])
    axis.invert_yaxis()
    axis.set_xlim(0, max(left) * 1.15)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(True, axis="x")
    axis.set_xlabel("papers (done of all)")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5, handlelength=1.6)
    return figure
