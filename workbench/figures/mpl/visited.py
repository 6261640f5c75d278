"""Draws layers as rows: the forward pass to the left, the backward pass to the right, one panel for each way."""

from __future__ import annotations

from typing import Any

from workbench.figures.layers import short
from workbench.figures.mpl.base import MAX_PANELS, blank, empty
from workbench.figures.style import CATEGORY_COLOURS, PALETTE
from workbench.figures.visited import VisitedInfo, Way

FORWARD, BACKWARD, TRAINED = "#7D8590", PALETTE[1], CATEGORY_COLOURS["weights"]


def draw(info: VisitedInfo) -> Any:
    """A matplotlib figure of ``info``: operations of each layer, and a dot where something trains."""
    if not info.ways:
        return empty("No way of tuning was given.")
    shown = info.ways[:MAX_PANELS]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = blank(rows * max(1.5, 0.17 * len(info.layers) + 0.9), rows, columns, sharey=True, sharex=True)
    low = max(max(w.forward_flops) for w in info.ways)
    high = max(max(w.backward_flops) for w in info.ways)
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        _panel(axis, info, shown[i], (-low * 1.05 or -1, high * 1.05 or 1))
    axes[0][0].invert_yaxis()
    _legend(figure)
    return figure


def _panel(axis: Any, info: VisitedInfo, way: Way, limits: tuple[float, float]) -> None:
    places = range(len(info.layers))
    axis.barh(places, [-v for v in way.forward_flops], color=FORWARD, height=0.78)
    axis.barh(places, way.backward_flops, color=BACKWARD, height=0.78, hatch="//", edgecolor="none")
    trained = [i for i, share in enumerate(way.trained) if share > 0]
    axis.plot([0] * len(trained), trained, "o", color=TRAINED, markersize=4.5)
    axis.set_yticks(places, [short(name) for name in info.layers])
    axis.set_xlim(*limits)
    axis.set_xticks([])
    axis.axvline(0, color=FORWARD, linewidth=0.8)
    first, _, rest = way.sentence.partition(", ")
    axis.set_title(f"{way.label}\n{first}\n{rest}", fontsize=8.5)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=FORWARD, label="operations forward"),
        Patch(facecolor=BACKWARD, hatch="//", label="operations backward"),
        Line2D([], [], marker="o", color=TRAINED, linestyle="", label="something trains here"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8.5)
