"""Draws figures of the kind ``grid`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.grid import GridInfo
from workbench.figures.plotly_.base import SYMBOLS, plain


def draw(figure: Any, info: GridInfo) -> None:
    """The first two metrics against each other; a cell without both stays out."""
    if len(info.metrics) < 2:
        return
    y, x = info.metrics[:2]
    for cell in info.cells:
        if x.key not in cell.values or y.key not in cell.values:
            continue
        across, up = cell.values[x.key], cell.values[y.key]
        scale = 2**20 if x.unit == "bytes" else 1
        spread = {"type": "data", "symmetric": False, "array": [(up.high or up.mean) - up.mean],
                  "arrayminus": [up.mean - (up.mean if up.low is None else up.low)]}  # fmt: skip
        figure.add_scatter(
            x=[across.mean / scale], y=[up.mean], mode="markers", name=plain(cell.label), error_y=spread,
            marker={"color": cell.colour, "size": 11, "symbol": SYMBOLS[cell.marker] + ("-open" if cell.over else "")},
        )  # fmt: skip
    figure.update_xaxes(title=plain(x.title) + (", MiB" if x.unit == "bytes" else ""))
    figure.update_yaxes(title=plain(y.title))
