"""Draws one step's memory for each method as stacked steps with the budget and the peak."""

from __future__ import annotations

from typing import Any

from workbench.figures.mpl.base import BUDGET, MAX_PANELS, blank, category_legend, empty, size_axis
from workbench.figures.scale import thinned
from workbench.figures.style import CATEGORY_HATCHES
from workbench.figures.svg import INK
from workbench.figures.timeline import TimelineInfo, peak_label


def draw(info: TimelineInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.steps:
        return empty("No run recorded a timeline.")
    shown = sorted(info.steps, key=lambda s: -s.peak)[:MAX_PANELS] if len(info.steps) > MAX_PANELS else info.steps
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = blank(0.5 + 2.1 * rows, rows, columns, sharey=True)
    high = max([s.peak for s in shown] + ([info.budget] if info.budget else [])) * 1.14
    for i in range(rows * columns):
        axis = axes[i // columns][i % columns]
        if i >= len(shown):
            axis.axis("off")
            continue
        _panel(axis, info, shown[i], high)
    category_legend(figure, info.categories, info.colours, info.budget)
    return figure


def _panel(axis: Any, info: TimelineInfo, step: Any, high: float) -> None:
    x = range(len(step.events))
    base = [0] * len(step.events)
    for category, colour in zip(info.categories, info.colours):
        top = [b + v for b, v in zip(base, step.live[category])]
        if any(step.live[category]):
            hatch = CATEGORY_HATCHES[category]
            edge = thinned(list(zip(x, top)), high / 300) + thinned(list(zip(x, base)), high / 300)[::-1]
            axis.fill(*zip(*edge), facecolor=colour, edgecolor=INK, hatch=hatch, linewidth=0.3)
        base = top
    axis.set_ylim(0, high)
    axis.set_xlim(0, max(1, len(step.events) - 1))
    if info.budget is not None:
        axis.axhline(info.budget, color=BUDGET, linewidth=1.2, linestyle=(0, (5, 2)))
    size_axis(axis.yaxis, 0, high)
    peak = base[step.peak_index]
    axis.plot(step.peak_index, peak, "v", color=INK, markersize=5)
    side = "right" if step.peak_index > len(step.events) / 2 else "left"
    axis.annotate(peak_label(step), (step.peak_index, peak), xytext=(0, 5), textcoords="offset points", ha=side,
                  fontsize=8)  # fmt: skip
    axis.set_title(f"{step.label} · {'measured' if step.source.startswith('measured') else 'predicted'}")
    starts = [i for i in x if i == 0 or step.phases[i] != step.phases[i - 1]]
    wide = [i for n, i in enumerate(starts) if (starts[n + 1] if n + 1 < len(starts) else len(x)) - i > len(x) / 9]
    axis.set_xticks(wide, [step.phases[i] for i in wide], ha="left")
