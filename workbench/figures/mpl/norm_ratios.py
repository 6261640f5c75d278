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
    widths = (5.0, 1.3, 1.3)  # the reference lies broad beneath the curve that should coincide with it
    for curve, colour, marker, width in zip(info.curves, PALETTE, MARKERS, widths):
        look = {"color": colour, "marker": MARKS[marker], "markersize": 3 + width / 2, "linewidth": width}
        axis.plot(places, curve.logarithms, label=curve.label, alpha=0.45 if width > 2 else 1.0, **look)
    axis.set_xticks(list(places), info.layers, rotation=90, fontsize=6.5)
    axis.set_ylabel("log10 of weight norm / gradient norm")
    axis.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=3, fontsize=8.5)
    return figure
