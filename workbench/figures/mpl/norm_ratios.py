"""Draws norm ratios, one line for each curve over the layers in forward order."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.norm_ratios import NormRatiosInfo
from workbench.figures.style import MARKERS, PALETTE


def draw(info: NormRatiosInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.curves:
        return empty("No ratios were taken.")
    figure, axes = blank(3.4)
    axis = axes[0][0]
    places = range(len(info.layers))
    for curve, colour, marker in zip(info.curves, PALETTE, MARKERS):
        axis.plot(
            places, curve.logarithms, color=colour, marker=MARKS[marker], markersize=4, linewidth=1.3, label=curve.label
        )
    axis.set_xticks(list(places), info.layers, rotation=90, fontsize=6.5)
    axis.set_ylabel("log10 of weight norm / gradient norm")
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
