"""Draws figures of the kind ``categories`` with plotly."""

from __future__ import annotations

from typing import Any

from workbench.figures.categories import CategoriesInfo
from workbench.figures.fit import FitInfo
from workbench.figures.plotly_.base import ALARM, mib, plain


def draw(figure: Any, info: CategoriesInfo | FitInfo) -> None:
    """Draw ``info`` into a plotly figure."""
    if isinstance(info, FitInfo):
        bars = [(m.label, m.by_category) for m in info.methods if m.peak is not None]
    else:
        bars = [(b.label, b.sizes) for b in info.bars]
    for i, (name, colour) in enumerate(zip(info.categories, info.colours)):
        figure.add_bar(
            y=[plain(label) for label, _ in bars], x=[mib(sizes[i]) for _, sizes in bars], orientation="h",
            name=name, marker_color=colour,
        )  # fmt: skip
    if info.budget is not None:
        figure.add_vline(x=mib(info.budget), line_color=ALARM, line_dash="dash", annotation_text="budget")
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="peak, MiB")
    figure.update_yaxes(autorange="reversed")
