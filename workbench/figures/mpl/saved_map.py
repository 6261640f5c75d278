"""Draws the map of kept bytes: the first combination and each that differs from it in one toggle, by layer and kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.units import format_size
from workbench.figures.layers import short
from workbench.figures.mpl.base import MAX_PANELS, blank, empty, size_axis
from workbench.figures.saved_map import SavedMapInfo
from workbench.figures.svg import INK

HATCHES = ("", "||", "xx", "//", "\\\\", "--", "+")
VISIBLE = 0.004  #: share of the axis below which a piece would be no more than a line


def draw(info: SavedMapInfo) -> Any:
    """A matplotlib figure of ``info``."""
    shown = info.one_change()[:MAX_PANELS]
    if not shown:
        return empty("No combination can be traced.")
    columns = min(len(shown), 4)
    rows = -(-len(shown) // columns)
    figure, axes = blank(rows * max(1.4, 0.17 * len(info.layers) + 0.8) + 0.4, rows, columns, sharey=True, sharex=True)
    high = max(sum(info.splits[i]) for place in shown for i in info.states[place].splits) * 1.05 or 1
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        _panel(axis, info, shown[i], high)
        axis.set(xlim=(0, high), ylim=(len(info.layers) - 0.4, -0.6))
        size_axis(axis.xaxis, 0, high)
        ticks = axis.get_xticks()
        axis.xaxis.set_ticks([ticks[0], ticks[-1]])  # more would run into each other
        axis.xaxis.set_major_formatter(lambda v, _: format_size(v) if v else "0")
    _legend(figure, info)
    return figure


def _panel(axis: Any, info: SavedMapInfo, place: int, high: float) -> None:
    state, places = info.states[place], range(len(info.layers))
    left = [0] * len(info.layers)
    for k, colour in enumerate(info.colours):
        widths = [info.splits[i][k] for i in state.splits]
        seen = [y for y in places if widths[y] > VISIBLE * high]
        if seen:
            axis.add_patch(_bars([(left[y], y, widths[y]) for y in seen], facecolor=colour, hatch=HATCHES[k]))
        left = [a + b for a, b in zip(left, widths)]
    dots = axis.plot([0] * len(state.trains), state.trains, "o", color=INK, markersize=3, clip_on=False)
    dots[0].set_in_layout(False)  # half of a dot lies outside, which is no reason to shrink all axes to nothing
    axis.set_yticks(places, [short(name) for name in info.layers])
    way, _, change = info.label(place).partition(", ")
    axis.set_title(f"{way}\n{change or 'nothing else changed'}\n{format_size(info.total(place))}", fontsize=8)


def _bars(places: Sequence[tuple[float, float, float]], **look: Any) -> Any:
    """Bars of one kind as one path: a patch each would make the picture three times as large."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [[(x, y - 0.39), (x + w, y - 0.39), (x + w, y + 0.39), (x, y + 0.39), (x, y)] for x, y, w in places]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(places)
    return PathPatch(Path([corner for bar in corners for corner in bar], codes), edgecolor="none", **look)


def _legend(figure: Any, info: SavedMapInfo) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, hatch=HATCHES[k], label=kind)
        for k, (kind, colour) in enumerate(zip(info.kinds, info.colours))
    ]
    handles.append(Line2D([], [], marker="o", color=INK, linestyle="", markersize=3, label="gets a gradient"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8)
