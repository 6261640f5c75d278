"""Draws score against peak memory: budget line, shaded infeasible side, intervals, labels at the marks."""

from __future__ import annotations

import itertools
from typing import Any

from workbench.core.units import format_size
from workbench.figures.mpl.base import BUDGET, MARKS, blank, empty, size_axis
from workbench.figures.mpl.labels import put_labels
from workbench.figures.pareto import MAX_NAMES, ParetoInfo
from workbench.figures.svg import INK

#: Over the bars of its marks, which it may run along, and under the marks.
FRONT: dict[str, Any] = {"linewidth": 1.6, "alpha": 0.75, "linestyle": (0, (4, 1.5)), "zorder": 3}


def draw(info: ParetoInfo) -> Any:
    """A matplotlib figure of ``info``."""
    points = [p for p in info.points if p.peak is not None]
    if not points:
        return empty("No run has a known peak.")
    figure, axes = blank(4.3)
    axis = axes[0][0]
    rail = any(p.score is None for p in points)
    low, high = _limits(info, points)
    log = high / low > 6
    axis.set_xscale("log" if log else "linear")
    axis.set_xlim(low, high)
    floor, ceiling = _score_limits(points, rail)
    axis.set_ylim(floor, ceiling)
    size_axis(axis.xaxis, low, high, log=log)
    axis.grid(True, axis="y")
    axis.set_xlabel("peak memory of one step" + (", logarithmic" if log else ""))
    axis.set_ylabel(f"{info.metric} ({'lower' if info.lower_is_better else 'higher'} is better)")
    if rail:
        axis.set_yticks([t for t in axis.get_yticks() if floor + (ceiling - floor) * 0.12 <= t <= ceiling])
    if info.share:
        axis.yaxis.set_major_formatter(lambda v, _: f"{v * 100:.4g} %" if 0 <= v <= 1 else "")
    rail_y = floor + (ceiling - floor) * 0.05
    if rail:
        axis.axhline(floor + (ceiling - floor) * 0.1, color=INK, linewidth=0.5, linestyle=":", alpha=0.6)
    if info.budget is not None:
        axis.axvspan(info.budget, high, color=BUDGET, alpha=0.07, linewidth=0)
        axis.axvline(info.budget, color=BUDGET, linewidth=1.3, linestyle=(0, (5, 2)))
        axis.annotate(f"budget {format_size(info.budget)}", (info.budget, 1.0), xycoords=("data", "axes fraction"),
                      xytext=(0, 3), textcoords="offset points", ha="center", va="bottom", color=BUDGET)  # fmt: skip
    front = sorted((p.peak, p.score) for p in points if p.front)
    axis.plot(*zip(*front), color=INK, drawstyle="steps-post", **FRONT) if len(front) > 1 else None
    for p in points:
        _mark(axis, p, rail_y)
    named = points if len(points) <= MAX_NAMES else [p for p in points if p.front]
    _label(figure, axis, named, rail_y, info.budget)
    return figure


def _limits(info: ParetoInfo, points: list[Any]) -> tuple[float, float]:
    sizes = [p.peak for p in points] + ([info.budget] if info.budget else [])
    low, high = max(1, min(sizes)), max(sizes)
    return (low / 1.6, high * 1.9) if high / low > 2.2 else (low * 0.8, high * 1.25)


def _score_limits(points: list[Any], rail: bool) -> tuple[float, float]:
    places = [p.values["score"] for p in points if "score" in p.values]
    values = [v for place in places for v in (place.low, place.high, place.at, *place.seeds) if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or abs(high) * 0.1 or 0.1
    bottom, top = low - span * 0.12, high + span * 0.12
    if low >= 0 and high <= 1:  # a share: nothing lies outside of 0 and 1
        bottom, top = max(bottom, -0.02 * span), min(top, 1 + 0.04 * span)
    return bottom - (top - bottom) * (0.16 if rail else 0), top


def _mark(axis: Any, p: Any, rail_y: float) -> None:
    marker = MARKS[p.marker]
    if p.score is None:
        axis.plot(p.peak, rail_y, marker, markersize=7, markerfacecolor="none", markeredgecolor=p.colour)
        return
    score, peak = p.values["score"], p.values["peak"]
    for x, y in zip(peak.seeds, score.seeds):
        if y is not None:
            axis.plot(x or p.peak, y, marker, markersize=3, color=p.colour, alpha=0.45)
    if score.low is not None:
        axis.plot([p.peak, p.peak], [score.low, score.high], color=p.colour, linewidth=1.6)
    if peak.low is not None:
        axis.plot([peak.low, peak.high], [p.score, p.score], color=p.colour, linewidth=1.6)
    fill = p.colour if p.fits is not False else "none"
    axis.plot(p.peak, p.score, marker, markersize=8.5, markerfacecolor=fill, markeredgecolor=p.colour, zorder=4)
    if p.reference:
        (ring,) = axis.plot(p.peak, p.score, "o", markersize=15, markerfacecolor="none", markeredgecolor=INK)
        ring.set(markeredgewidth=0.9, alpha=0.8)


def _label(figure: Any, axis: Any, points: list[Any], rail_y: float, budget: int | None) -> None:
    figure.draw_without_rendering()
    named, obstacles = [], []
    for p in points:
        y = rail_y if p.score is None else p.score
        text = p.label if p.score is not None else f"{p.label}: {p.state}"
        text += "" if p.peak_kind == "measured" else " (predicted)"
        text += ": reference, no budget" if p.reference else ""
        named.append((p.peak, y, text))
        score = p.values.get("score")
        if score is not None and score.low is not None:
            x, bottom = axis.transData.transform((p.peak, score.low))
            obstacles.append((x - 3, bottom, x + 3, axis.transData.transform((p.peak, score.high))[1]))
    front = sorted((p.peak, p.score) for p in points if p.front)
    for (left, low), (right, high) in itertools.pairwise(front):
        (x0, y0), (x1, y1) = axis.transData.transform((left, low)), axis.transData.transform((right, high))
        obstacles += [(x0, y0 - 2, x1, y0 + 2), (x1 - 2, min(y0, y1), x1 + 2, max(y0, y1))]
    if budget is not None:
        frame, x = axis.get_window_extent(), axis.transData.transform((budget, rail_y))[0]
        obstacles.append((x - 2, frame.y0, x + 2, frame.y1))
    put_labels(axis, named, obstacles)
