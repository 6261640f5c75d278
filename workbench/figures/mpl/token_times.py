"""Draws the loss by time with the right and with wrong tokens."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import blank
from workbench.figures.style import PALETTE
from workbench.figures.svg import INK
from workbench.figures.token_times import TokenTimesInfo


def draw(info: TokenTimesInfo) -> Any:
    """A matplotlib figure of ``info``."""
    figure, axes = blank(3.2)
    axis = axes[0][0]
    axis.axvspan(*info.window, color=INK, alpha=0.08, linewidth=0)
    axis.plot(info.times, info.wrong, "s-", color=PALETTE[1], markersize=4, label="other tokens")
    axis.plot(info.times, info.right, "o-", color=PALETTE[0], markersize=4, label="learned token")
    axis.plot(
        info.times, [w - r for r, w in zip(info.right, info.wrong)], "^--", color=PALETTE[2], markersize=4, label="gap"
    )
    axis.set_xlim(0, 1)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("time (0: picture, 1: noise)")
    axis.set_ylabel("loss")
    axis.grid(True, axis="y")
    axis.legend(fontsize=8.5)
    return figure
