"""Draws score against the share of each amount, and against peak memory."""

from __future__ import annotations

from typing import Any

from workbench.figures.courses import LABELS, CoursesInfo
from workbench.figures.mpl.base import MARKS, blank, empty, size_axis

DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)))


def draw(info: CoursesInfo) -> Any:
    """A matplotlib figure of ``info``: a panel for each currency, one for memory, names below."""
    if not info.ways:
        return empty("Nothing was trained.")
    currencies = list(dict.fromkeys(t.currency for w in info.ways for t in w.tracks))
    columns = 2
    rows = -(-(len(currencies) + 1) // columns)
    figure, axes = blank(2.5 * rows + 0.5 + 0.14 * len(info.ways), rows, columns, sharey=True)
    panels = [axes[i // columns][i % columns] for i in range(rows * columns)]
    for panel, currency in zip(panels, currencies):
        for i, way in enumerate(info.ways):
            for track in (t for t in way.tracks if t.currency == currency):
                _track(panel, way, track, i)
        panel.set_xlim(-0.03, 1.04)
        panel.set_xticks([0, 0.5, 1], ["0", "half", "all"])
        panel.set_title(f"equal {LABELS.get(currency, currency)}")
        panel.grid(True, axis="y")
    _memory(panels[len(currencies)], info)
    for panel in panels[len(currencies) + 1 :]:
        panel.axis("off")
    for row in axes:
        row[0].set_ylabel(f"{info.metric}{' (lower is better)' if info.lower_is_better else ''}")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, fontsize=8, handlelength=3.2)
    return figure


def _track(panel: Any, way: Any, track: Any, order: int) -> None:
    look = {"color": way.colour, "marker": MARKS[way.marker], "linestyle": DASHES[order % len(DASHES)]}
    panel.plot(track.shares, track.means, markersize=4.5, linewidth=1.4, label=way.label, **look)
    for x, low, high in list(zip(track.shares, track.lows, track.highs))[-1:]:
        if low is not None:
            panel.plot([x, x], [low, high], color=way.colour, linewidth=1.2, alpha=0.6)


def _memory(panel: Any, info: CoursesInfo) -> None:
    peaks = [w.peak for w in info.ways]
    for way in info.ways:
        if way.final is not None:
            panel.plot(way.peak, way.final, MARKS[way.marker], color=way.colour, markersize=7.5)
    low, high = min(peaks) * 0.8, max(peaks) * 1.25
    panel.set_xscale("log")
    panel.set_xlim(low, high)
    size_axis(panel.xaxis, low, high, log=True)
    panel.set_title("peak memory, measured")
    panel.grid(True)
