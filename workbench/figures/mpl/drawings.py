"""Draws lines of small pictures, with a border that shows where paper ends on a page of any colour."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.figures.drawings import DrawingsInfo
from workbench.figures.mpl.base import blank, empty

ACROSS = 10  #: pictures of a line that a drawing has room for


def draw(info: DrawingsInfo) -> Any:
    """A matplotlib figure of ``info``."""
    if not info.lines:
        return empty("No pictures.")
    figure, axes = blank(0.78 * len(info.lines), len(info.lines), 1)
    for axis, (label, note, pictures) in zip(axes[:, 0], info.lines):
        mosaic = np.concatenate([_bordered(np.array(p)) for p in pictures[:ACROSS]], 1)
        axis.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_xlim(-0.5, ACROSS * (len(pictures[0]) + 2) - 0.5)
        axis.set_anchor("W")
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
        axis.set_yticks([mosaic.shape[0] / 2 - 0.5], [f"{label}\n{note}" if note else label])
    return figure


def _bordered(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, 1, constant_values=128)
