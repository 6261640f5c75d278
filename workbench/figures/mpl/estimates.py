"""Draws cosines by layer and the error against probes."""

from __future__ import annotations

from typing import Any

from workbench.figures.estimates import EstimatesInfo
from workbench.figures.layers import short
from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.style import MARKERS, PALETTE
from workbench.figures.svg import INK


def draw(info: EstimatesInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.layers:
        return empty("Nothing was estimated.")
    figure, axes = blank(max(2.8, 0.24 * len(info.layers) + 1.1), 1, 2, width_ratios=(1.5, 1))
    left, right = axes[0]
    for i, (probes, line) in enumerate(zip(info.probes, info.cosines)):
        known = [(c, y) for y, c in enumerate(line) if c is not None]
        look = {"color": PALETTE[i % len(PALETTE)], "marker": MARKS[MARKERS[i % len(MARKERS)]]}
        left.plot(*zip(*known), linestyle="none", markersize=6, label=f"{probes} probe{'s'[: probes > 1]}", **look)
    left.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
    left.set_yticks(range(len(info.layers)), [short(name, 26) for name in info.layers])
    left.invert_yaxis()
    left.set_xlabel("cosine to the true gradient")
    left.grid(True, axis="x")
    right.plot(info.probes, info.expected, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="(d + 1) / q")
    right.plot(info.probes, info.errors, "o", color=PALETTE[1], markersize=6.5, label="measured")
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    right.yaxis.set_minor_formatter("")
    right.set_xticks(info.probes, [str(p) for p in info.probes])
    right.set_xlabel("probes")
    right.set_title("squared error / squared gradient")
    right.grid(True, axis="y")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8.5)
    right.legend(fontsize=8.5)
    return figure
