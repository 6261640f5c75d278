"""Draws figures of the kind ``trade`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.plotly_.base import SYMBOLS, mib, plain
from workbench.figures.trade import TradeInfo


def draw(figure: Any, info: TradeInfo) -> None:
    """Draw ``info`` into a plotly figure: panels side by side that share the axis of scores."""
    count = len(info.costs)
    for panel, cost in enumerate(info.costs):
        number = "" if panel == 0 else str(panel + 1)
        scaled = mib if cost.unit == "bytes" else float
        for p in cost.places:
            error = None
            if p.low is not None and p.high is not None:
                error = {"array": [p.high - p.y], "arrayminus": [p.y - p.low]}
            figure.add_scatter(
                x=[scaled(p.x)], y=[p.y], error_y=error, mode="markers", name=plain(p.label), legendgroup=p.label,
                showlegend=panel == 0, xaxis=f"x{number}", yaxis="y",
                marker={"color": p.colour, "symbol": SYMBOLS[p.marker], "size": 11},
            )  # fmt: skip
        unit = "MiB" if cost.unit == "bytes" else cost.unit
        domain = [panel / count + 0.02 * (panel > 0), (panel + 1) / count - 0.02]
        figure.update_layout({f"xaxis{number}": {"title": f"{plain(cost.label)}, {unit}", "domain": domain,
                                                  "type": "log" if cost.log else "linear",
                                                  "rangemode": "normal" if cost.log else "tozero"}})  # fmt: skip
    figure.update_yaxes(title=plain(info.y_label))
