"""Prints a grid as a table of means: one block for each combination of the axes beyond the first two."""

from __future__ import annotations

import itertools
from typing import Any

from workbench.figures.grid import MISSING, GridCell, GridInfo
from workbench.figures.layers import short
from workbench.figures.measures import printed
from workbench.figures.mpl.base import MAX_PANELS, blank, empty
from workbench.figures.svg import ALARM, INK


def draw(info: GridInfo) -> Any:
    """A matplotlib figure of ``info``: the first metric in every cell."""
    if not info.cells:
        return empty("The grid has no cell.")
    names = [axis.name for axis in info.axes]
    rows = info.axes[0].values
    columns = info.axes[1].values if len(names) > 1 else ("",)
    others = list(itertools.product(*(range(len(axis.values)) for axis in info.axes[2:])))[:MAX_PANELS]
    figure, axes = blank(len(others) * (0.42 * len(rows) + 0.9), len(others))
    by_place = {cell.place: cell for cell in info.cells}
    for i, rest in enumerate(others):
        axis = axes[i][0]
        _frame(axis, rows, columns, names)
        fixed = ", ".join(f"{axis.name} {axis.values[j]}" for axis, j in zip(info.axes[2:], rest))
        metric = info.metrics[0].title if info.metrics else "state"
        axis.set_title(f"{metric}{f' at {fixed}' if fixed else ''}")
        for y in range(len(rows)):
            for x in range(len(columns)):
                place = (y, x, *rest) if len(names) > 1 else (y,)
                _cell(axis, x, y, by_place.get(place), info)
    return figure


def _frame(axis: Any, rows: Any, columns: Any, names: list[str]) -> None:
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axis.set_xticks(range(len(columns)), [short(c) for c in columns])
    axis.set_yticks(range(len(rows)), [short(r) for r in rows])
    axis.set_ylabel(names[0])
    if len(names) > 1:
        axis.set_xlabel(names[1])
    axis.tick_params(length=0)


def _cell(axis: Any, x: int, y: int, cell: GridCell | None, info: GridInfo) -> None:
    from matplotlib.patches import Rectangle

    missing = cell is None or cell.state == MISSING
    over = cell is not None and cell.over
    box = Rectangle((x - 0.47, y - 0.43), 0.94, 0.86, facecolor="none", edgecolor=ALARM if over else INK,
                    hatch="//" if over else None, linestyle="--" if missing else "-", linewidth=0.7,
                    alpha=0.5)  # fmt: skip
    axis.add_patch(box)
    axis.text(x, y, _words(cell, info), ha="center", va="center", fontsize=8.5)


def _words(cell: GridCell | None, info: GridInfo) -> str:
    if cell is None:
        return "not in the grid"
    metric = info.metrics[0] if info.metrics else None
    value = cell.values.get(metric.key) if metric else None
    if value is None or metric is None:
        return cell.state
    text = printed(value.mean, metric.unit)
    if value.low is not None and value.high is not None:
        text += f"\n{printed(value.low, metric.unit)} to {printed(value.high, metric.unit)}"
    return text if cell.done == cell.planned else f"{text}\n{cell.done} of {cell.planned} runs"
