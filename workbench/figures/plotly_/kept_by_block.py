"""Draws figures of the kind ``kept_by_block`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.kept_by_block import KeptByBlockInfo
from workbench.figures.plotly_.base import mib, plain


def draw(figure: Any, info: KeptByBlockInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    for bars in info.bars:
        figure.add_bar(x=[plain(b) for b in info.blocks], y=[mib(s) for s in bars.sizes], name=plain(bars.label))
    figure.update_xaxes(title="block, in forward order", type="category")
    figure.update_yaxes(title="kept for backward, MiB")
