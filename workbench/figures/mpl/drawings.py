"""Draws lines of small pictures; between them the page shows through, whatever its colour."""

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
        mosaic = np.concatenate([_apart(np.array(p)) for p in pictures[:ACROSS]], 1)
        axis.imshow(mosaic, interpolation="nearest")
        axis.set_xlim(-0.5, ACROSS * (len(pictures[0]) + 1) - 0.5)
        axis.set_anchor("W")
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
        axis.set_yticks([mosaic.shape[0] / 2 - 0.5], [f"{label}\n{note}" if note else label])
    return figure


def _apart(picture: np.ndarray) -> np.ndarray:
    """Red, green, blue and how opaque, with a column of nothing on the right."""
    grey = np.pad(picture, ((0, 0), (0, 1)))
    paper = np.pad(np.full_like(picture, 255), ((0, 0), (0, 1)))
    return np.stack([grey, grey, grey, paper], -1).astype("uint8")
