"""Draws relative distances as a raster: layers down, watched steps across."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from workbench.figures.dynamics import DynamicsInfo
from workbench.figures.mpl.base import blank, empty

LEVELS = 32  #: colours; more cannot be told apart
SEAM = 0.03  #: of a cell, by which shapes overlap, so that nothing shines through
LONGEST = 46  #: characters of a layer's name


def draw(info: DynamicsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.layers:
        return empty(info.alt)
    known = [v for line in info.logarithms for v in line if v is not None]
    figure, axes = blank(1.0 + 0.18 * len(info.layers))
    axis = axes[0][0]
    colours = _raster(axis, info, min(known), max(known))
    axis.set_xlim(0, len(info.steps))
    axis.set_ylim(len(info.layers), 0)
    axis.set_yticks([i + 0.5 for i in range(len(info.layers))], [_short(n) for n in info.layers], fontsize=7.5)
    every = max(1, len(info.steps) // 10)
    axis.set_xticks([i + 0.5 for i in range(0, len(info.steps), every)], [str(s) for s in info.steps[::every]])
    axis.set_xlabel("step")
    figure.colorbar(colours, ax=axis, label="log10 of mean |w - w'| / |w'| (no unit)", fraction=0.03, pad=0.01)
    return figure


def _raster(axis: Any, info: DynamicsInfo, low: float, high: float) -> Any:
    """One shape a colour, neighbours in a line as one: a path of its own for every cell would be most of a page.

    Returns what a bar of the colours is drawn from.
    """
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    colours = ScalarMappable(Normalize(low, high), mpl.colormaps["cividis"].resampled(LEVELS))
    share = LEVELS / ((high - low) or 1.0)
    shapes: dict[int, list[Path]] = {}
    for row, line in enumerate(info.logarithms):
        levels = [None if v is None else min(LEVELS - 1, int((v - low) * share)) for v in line]
        for column, level, width in _stretches(levels):
            right, bottom = column + width + SEAM, row + 1 + SEAM
            corners = [(column, row), (right, row), (right, bottom), (column, bottom), (column, row)]
            shapes.setdefault(level, []).append(Path(corners, closed=True))
    for level, some in shapes.items():
        axis.add_patch(PathPatch(Path.make_compound_path(*some), facecolor=colours.cmap(level), linewidth=0))
    return colours


def _stretches(levels: Sequence[int | None]) -> Iterator[tuple[int, int, int]]:
    """(first column, level, columns) of every run of equal levels; what is not known is left out."""
    column = 0
    for level, run in itertools.groupby(levels):
        width = len(list(run))
        if level is not None:
            yield column, level, width
        column += width


def _short(name: str) -> str:
    name = name.removesuffix(".weight").removeprefix("encoder.").replace("encoder.", "")
    return name if len(name) <= LONGEST else "…" + name[-LONGEST:]
