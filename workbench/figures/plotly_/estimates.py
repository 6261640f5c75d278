"""Draws figures of the kind ``estimates`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.estimates import EstimatesInfo


def draw(figure: Any, info: EstimatesInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for probes, line in zip(info.probes, info.cosines):
        figure.add_scatter(x=line, y=info.layers, mode="markers", name=f"{probes} probes")
    figure.update_xaxes(title="cosine to the true gradient")
