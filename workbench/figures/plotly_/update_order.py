"""Draws figures of the kind ``update_order`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import mib, plain
from workbench.figures.update_order import UpdateOrderInfo


def draw(figure: Any, info: UpdateOrderInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for pair in info.pairs:
        for line in pair.lines:
            figure.add_scatter(
                x=line.at, y=[mib(v) for v in line.live], mode="lines", name=plain(f"{pair.way}, {line.label}")
            )
    figure.update_xaxes(title="place in the step")
    figure.update_yaxes(title="live bytes made in the step, MiB")
