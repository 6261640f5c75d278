"""Draws figures of the kind ``few_bits`` with plotly: the losses; flips are in the table beside it."""

from __future__ import annotations

from typing import Any

from workbench.figures.few_bits import FewBitsInfo
from workbench.figures.plotly_.base import SYMBOLS, plain


def draw(figure: Any, info: FewBitsInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for line in info.lines:
        error = None
        if any(high is not None for high in line.highs):
            up = [0 if high is None else high - loss for loss, high in zip(line.losses, line.highs)]
            down = [0 if low is None else loss - low for loss, low in zip(line.losses, line.lows)]
            error = {"array": up, "arrayminus": down}
        figure.add_scatter(x=[f"{b} bits" for b in line.bits], y=list(line.losses), error_y=error, mode="markers",
                           name=plain(line.label),
                           marker={"color": line.colour, "symbol": SYMBOLS[line.marker], "size": 10})  # fmt: skip
    if info.whole is not None:
        figure.add_hline(y=info.whole, line_dash="dash", annotation_text="float")
    figure.update_yaxes(title="held-out loss")
