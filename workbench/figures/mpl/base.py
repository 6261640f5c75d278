"""Pieces that several drawings share: an empty figure, size axes, the budget line, a category legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.units import format_size
from workbench.figures.info import MAX_PANELS
from workbench.figures.scale import size_ticks
from workbench.figures.style import CATEGORY_HATCHES
from workbench.figures.svg import ALARM, INK

WIDTH = 8.6  #: inches; pages scale it to their own width
MARKS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "cross": "X",
    "plus": "P",
    "down": "v",
    "pentagon": "p",
}
BUDGET = ALARM

__all__ = ["BUDGET", "MARKS", "MAX_PANELS", "WIDTH", "blank", "category_legend", "empty", "size_axis"]


def blank(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure that no display owns, and its axes in a two-dimensional array."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def empty(message: str) -> Any:
    """A figure that says why there is nothing to see."""
    figure, axes = blank(1.2)
    axes[0][0].axis("off")
    axes[0][0].text(0.5, 0.5, message, ha="center", va="center")
    return figure


def size_axis(axis: Any, low: float, high: float, *, log: bool = False) -> None:
    """Ticks at round sizes with their unit."""
    ticks = [t for t in size_ticks(low, high, log=log) if low <= t <= high]
    axis.set_ticks(ticks, [format_size(t) if t else "0" for t in ticks])
    axis.set_minor_locator(_none())


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def category_legend(figure: Any, categories: Sequence[str], colours: Sequence[str], budget: int | None) -> None:
    """One line above the panels: colour, pattern and name of each category, and the budget line."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, hatch=CATEGORY_HATCHES.get(name, ""), label=name)
        for name, colour in zip(categories, colours)
    ]
    if budget is not None:
        handles.append(Line2D([], [], color=BUDGET, linestyle=(0, (5, 2)), label=f"budget {format_size(budget)}"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8.5, handlelength=1.6)
