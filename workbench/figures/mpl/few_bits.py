"""Draws held-out loss by bits for every arm, and the share of codes that noise flips."""

from __future__ import annotations

from typing import Any

from workbench.figures.few_bits import FewBitsInfo
from workbench.figures.mpl.base import MARKS, blank, empty
from workbench.figures.style import MARKERS, PALETTE
from workbench.figures.svg import INK


def draw(info: FewBitsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.lines:
        return empty("Nothing was quantized.")
    columns = 2 if info.flips else 1
    figure, axes = blank(3.9, 1, columns, width_ratios=(1.7, 1)[:columns])
    left = axes[0][0]
    widths = sorted({b for line in info.lines for b in line.bits})
    places = {b: i for i, b in enumerate(widths)}
    for i, line in enumerate(info.lines):
        shift = (i - (len(info.lines) - 1) / 2) * 0.08  # side by side, so that intervals do not cover each other
        xs = [places[b] + shift for b in line.bits]
        left.plot(xs, line.losses, MARKS[line.marker], color=line.colour, markersize=6, label=line.label)
        for x, low, high in zip(xs, line.lows, line.highs):
            if low is not None:
                left.plot([x, x], [low, high], color=line.colour, linewidth=1.4)
    if info.whole is not None:
        left.axhline(info.whole, color=INK, linewidth=1, linestyle=(0, (4, 2)), alpha=0.7, label="float")
    left.set_xticks(range(len(widths)), [f"{b} bits" for b in widths])
    left.set_xlim(-0.5, len(widths) - 0.5)
    left.set_ylabel("held-out loss")
    left.grid(True, axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, fontsize=8)
    if info.flips:
        _flips(axes[0][1], info)
    return figure


def _flips(axis: Any, info: FewBitsInfo) -> None:
    for i, bits in enumerate(sorted({b for b, _, _ in info.flips})):
        points = [(eps, share) for b, eps, share in info.flips if b == bits and share > 0]
        if points:
            look = {"color": PALETTE[i % len(PALETTE)], "marker": MARKS[MARKERS[i % len(MARKERS)]]}
            axis.plot(*zip(*points), linewidth=1.2, markersize=5, label=f"{bits} bits", **look)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda v, _: f"{v * 100:.3g} %")
    axis.set_xlabel("size of the perturbation")
    axis.set_title("codes that flip")
    axis.grid(True)
    axis.legend(fontsize=8)
