"""Draws the fit explorer at its budget: the same stacked bars, from rows that may not have run."""

from __future__ import annotations

from typing import Any

from workbench.figures.categories import CategoriesInfo, CategoryBar
from workbench.figures.fit import FitInfo
from workbench.figures.mpl import categories


def draw(info: FitInfo) -> Any:
    """A matplotlib figure of ``info``."""
    bars = tuple(
        CategoryBar(
            m.label,
            m.method,
            m.source,
            "",
            m.peak,
            None if info.budget is None else m.peak <= info.budget,
            m.binding,
            m.by_category,
        )
        for m in info.methods
        if m.peak is not None
    )
    return categories.draw(
        CategoriesInfo(info.title, info.caption, info.alt, info.runs, info.budget, info.categories, info.colours, bars)
    )
