"""Draws relative distances as a raster: layers down, watched steps across."""

from __future__ import annotations

from typing import Any

from workbench.figures.dynamics import DynamicsInfo
from workbench.figures.mpl.base import blank, empty

LONGEST = 46  #: characters of a layer's name


def draw(info: DynamicsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.layers:
        return empty(info.alt)
    known = [v for line in info.logarithms for v in line if v is not None]
    figure, axes = blank(1.0 + 0.18 * len(info.layers))
    axis = axes[0][0]
    values = [[float("nan") if v is None else v for v in line] for line in info.logarithms]
    edges = [*range(len(info.steps) + 1)]
    mesh = axis.pcolormesh(
        edges,
        [*range(len(info.layers) + 1)],
        values,
        cmap="cividis",
        vmin=min(known),
        vmax=max(known),
        rasterized=False,
    )
    axis.invert_yaxis()
    axis.set_yticks([i + 0.5 for i in range(len(info.layers))], [_short(n) for n in info.layers], fontsize=7.5)
    every = max(1, len(info.steps) // 10)
    axis.set_xticks([i + 0.5 for i in edges[:-1:every]], [str(s) for s in info.steps[::every]])
    axis.set_xlabel("step")
    figure.colorbar(mesh, ax=axis, label="log10 of mean |w - w'| / |w'| (no unit)", fraction=0.03, pad=0.01)
    return figure


def _short(name: str) -> str:
    name = name.removesuffix(".weight").removeprefix("encoder.").replace("encoder.", "")
    return name if len(name) <= LONGEST else "…" + name[-LONGEST:]
