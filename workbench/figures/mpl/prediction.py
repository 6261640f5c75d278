"""Draws predicted against measured peak with the line of no error."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import MARKS, blank, empty, size_axis
from workbench.figures.mpl.labels import put_labels
from workbench.figures.prediction import PredictionInfo
from workbench.figures.svg import INK

MAX_NAMES = 16  #: with more labels than this only the methods furthest off carry theirs


def draw(info: PredictionInfo) -> Any:
    """A matplotlib figure of ``info``; one label for each method, at its worst run."""
    if not info.points:
        return empty("No run has both a predicted and a measured peak.")
    figure, axes = blank(3.9)
    axis = axes[0][0]
    sizes = [v for p in info.points for v in (p.predicted, p.measured)]
    low, high = max(1, min(sizes)) / 1.4, max(sizes) * 1.4
    log = high / low > 8
    for side in (axis.xaxis, axis.yaxis):
        side.axes.set_xscale("log" if log else "linear") if side is axis.xaxis else axis.set_yscale(
            "log" if log else "linear"
        )
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    size_axis(axis.xaxis, low, high, log=log)
    size_axis(axis.yaxis, low, high, log=log)
    axis.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=":")
    axis.grid(True)
    axis.set_xlabel("measured peak")
    axis.set_ylabel("predicted peak")
    for p in info.points:
        axis.plot(p.measured, p.predicted, MARKS[p.marker], color=p.colour, markersize=6.5, alpha=0.85)
    _label(figure, axis, info)
    return figure


def _label(figure: Any, axis: Any, info: PredictionInfo) -> None:
    worst: dict[str, Any] = {}
    for p in info.points:
        if p.label not in worst or abs(p.error) > abs(worst[p.label].error):
            worst[p.label] = p
    if len(worst) > MAX_NAMES:  # what is exact needs no name
        far = sorted(worst, key=lambda label: -abs(worst[label].error))[:MAX_NAMES]
        named = {label: worst[label] for label in far if f"{abs(worst[label].error):.2%}" != "0.00%"}
        rest = [abs(p.error) for label, p in worst.items() if label not in named]
        axis.text(0.98, 0.04, f"{len(rest)} without a name: within {max(rest):.2%}", transform=axis.transAxes,
                  fontsize=8.5, ha="right")  # fmt: skip
        worst = named
    figure.draw_without_rendering()
    low, high = axis.get_xlim()
    line = [axis.transData.transform((v, v)) for v in _along(low, high, axis.get_xscale() == "log")]
    obstacles = [(x - 2, y - 2, x + 2, y + 2) for x, y in line]
    points = [
        (p.measured, p.predicted, label if p.predicted == p.measured else f"{label} {p.error:+.2%}")
        for label, p in worst.items()
    ]
    put_labels(axis, points, obstacles, gap=8)


def _along(low: float, high: float, log: bool) -> list[float]:
    """Places on the line of no error, close enough together that no name crosses it unseen."""
    shares = [i / 100 for i in range(101)]
    return [low * (high / low) ** s if log else low + (high - low) * s for s in shares]
