"""Draws one run: loss, peak of each step under the budget, and the step's memory as one stacked bar."""

from __future__ import annotations

from typing import Any

from workbench.core.units import format_size
from workbench.figures.mpl.base import BUDGET, WIDTH, category_legend, empty, size_axis
from workbench.figures.run import RunInfo
from workbench.figures.style import CATEGORY_HATCHES
from workbench.figures.svg import INK


def draw(info: RunInfo) -> Any:
    """A matplotlib figure of ``info``; a run that took no step shows its memory alone."""
    from matplotlib.figure import Figure

    parts = [("loss", 1.9), ("peaks", 1.7)] if info.steps else []
    parts += [("split", 0.8)] if info.by_category else []
    if not parts:
        return empty(info.sentence)
    figure = Figure(figsize=(WIDTH, 0.7 + sum(height for _, height in parts)), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=[height for _, height in parts])
    high = max(v for v in (info.budget, info.highest, info.profile_peak, 1) if v is not None) * 1.14
    for (name, _), axis in zip(parts, axes[:, 0]):
        _PARTS[name](axis, info, high)
    category_legend(figure, info.categories if info.by_category else (), info.colours, info.budget)
    return figure


def _along(axis: Any, info: RunInfo) -> None:
    last = info.steps[-1] if info.over else max(info.planned, info.steps[-1])
    axis.set_xlim(0, max([last, *(pin.steps[-1] for pin in info.pins)]))
    axis.grid(True, axis="y")


def _loss(axis: Any, info: RunInfo, high: float) -> None:
    axis.plot(info.steps, info.losses, color=info.colours[0], linewidth=1.8)
    for pin, style in zip(info.pins, ("--", ":", "-.", (0, (4, 2)))):
        name = f"{pin.name}{', partial' if pin.partial else ''}"
        axis.plot(pin.steps, pin.losses, color=INK, linewidth=1.2, linestyle=style, label=name)
    if info.pins:
        axis.legend(loc="upper right", fontsize=8)
    _along(axis, info)
    axis.set_ylabel("training loss")


def _peaks(axis: Any, info: RunInfo, high: float) -> None:
    known = [(step, peak) for step, peak in zip(info.steps, info.peaks) if peak is not None]
    axis.plot([s for s, _ in known], [p for _, p in known], color=info.colours[3], linewidth=1.6, drawstyle="steps-pre")
    _budget(axis.axhline, info)
    axis.set_ylim(0, high)
    size_axis(axis.yaxis, 0, high)
    _along(axis, info)
    axis.set_xlabel("step")
    axis.set_ylabel("peak of the step")


def _split(axis: Any, info: RunInfo, high: float) -> None:
    left = 0
    for category, colour, size in zip(info.categories, info.colours, info.by_category):
        if size:
            axis.barh(0, size, left=left, color=colour, edgecolor=INK, linewidth=0.4, hatch=CATEGORY_HATCHES[category])
        left += size
    axis.annotate(format_size(left), (left, 0), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    _budget(axis.axvline, info)
    axis.set_xlim(0, high)
    size_axis(axis.xaxis, 0, high)
    axis.set_yticks([0], ["measured" if info.source.startswith("measured") else "predicted"])


def _budget(line: Any, info: RunInfo) -> None:
    if info.budget is not None:
        line(info.budget, color=BUDGET, linewidth=1.3, linestyle=(0, (5, 2)))


_PARTS = {"loss": _loss, "peaks": _peaks, "split": _split}
