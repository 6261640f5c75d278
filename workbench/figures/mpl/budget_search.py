"""Draws a search under budgets: above how much worth it gets beside plain choices, below which parts it chooses."""

from __future__ import annotations

from typing import Any

from workbench.figures.budget_search import BudgetSearchInfo, SearchView, amount
from workbench.figures.layers import short
from workbench.figures.mpl.base import blank, empty
from workbench.figures.svg import FAINT

STYLES = ("-", "--", ":")
MARKS = ("o", "s", "^")
LINES = 2.1  #: inches of the curves


def draw(info: BudgetSearchInfo) -> Any:
    """A matplotlib figure of ``info``: one column for each kind of budget."""
    if not info.searches:
        return empty("No search was given.")
    tall = max(1.2, 0.12 * max(len(v.parts) for v in info.searches) + 0.4)
    ratios = {"height_ratios": [LINES, tall]}
    figure, axes = blank(LINES + tall + 0.6, 2, len(info.searches), gridspec_kw=ratios)
    for column, view in enumerate(info.searches):
        _worth(axes[0][column], info, view)
        _chosen(axes[1][column], info, view)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8.5)
    return figure


def _worth(axis: Any, info: BudgetSearchInfo, view: SearchView) -> None:
    budgets = [pick.budget for pick in view.picks]
    for i, name in enumerate(info.names):
        axis.plot(
            budgets, [p.worth[i] for p in view.picks], STYLES[i], marker=MARKS[i], markersize=4, color=info.colours[i],
            label=name,
        )  # fmt: skip
    axis.set(ylim=(0, 1.05), xlim=(0, view.full * 1.03))
    axis.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.set_xticks([0, view.full / 2, view.full], ["0", *(amount(view.full * s, view.unit) for s in (0.5, 1))])
    axis.set_title(f"share of the worth,\nby {view.what}", fontsize=8.5)
    axis.grid(color=FAINT)


def _chosen(axis: Any, info: BudgetSearchInfo, view: SearchView) -> None:
    axis.add_patch(_squares([(x, y) for x, pick in enumerate(view.picks) for y in pick.chosen], info.colours[0]))
    axis.set(xlim=(-0.6, len(view.picks) - 0.4), ylim=(len(view.parts) - 0.4, -0.6))
    axis.set_yticks(range(len(view.parts)), [short(part) for part in view.parts], fontsize=6.5)
    ends = (0, len(view.picks) - 1)
    axis.set_xticks(ends, [amount(view.picks[i].budget, view.unit) for i in ends])
    axis.set_title("chosen at each budget", fontsize=8.5)
    axis.grid(axis="y", color=FAINT, linewidth=0.4)


def _squares(places: list[tuple[int, int]], colour: str) -> Any:
    """All squares as one path: a patch each would make the picture several times as large."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    corners = [(-0.3, -0.34), (0.3, -0.34), (0.3, 0.34), (-0.3, 0.34), (-0.3, -0.34)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(places)
    points = [(x + dx, y + dy) for x, y in places for dx, dy in corners]
    return PathPatch(Path(points or [(0, 0)], codes or [Path.MOVETO]), facecolor=colour, edgecolor="none")
