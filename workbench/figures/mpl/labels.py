"""Names beside marks, where there is room, each joined to its mark where that lies apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from workbench.figures.scale import Box, place_labels
from workbench.figures.svg import INK

NEAR = 16  #: pixels from a mark within which its name needs no line


def put_labels(
    axis: Any,
    named: Sequence[tuple[float, float, str]],
    obstacles: Sequence[Box] = (),
    gap: float = 9.0,
) -> None:
    """Write each (x, y, name), x and y in units of the axes; ``obstacles`` are in pixels.

    The figure must have been laid out (``draw_without_rendering``): places and the real font's widths are pixels.
    """
    texts = [axis.text(x, y, name, fontsize=8.5, va="bottom", ha="left") for x, y, name in named]
    anchors = [tuple(axis.transData.transform((x, y))) for x, y, _ in named]
    extents = [text.get_window_extent() for text in texts]
    frame = axis.get_window_extent()
    bounds = (frame.x0 + 2, frame.y0 + 1, frame.x1, frame.y1)
    to_data = axis.transData.inverted().transform
    for text, anchor, box in zip(
        texts, anchors, place_labels(anchors, [(e.width, e.height) for e in extents], bounds, obstacles, gap)
    ):
        text.set_position(to_data((box[0], box[1])))
        end = min(max(anchor[0], box[0]), box[2]), min(max(anchor[1], box[1]), box[3])
        if math.dist(anchor, end) > NEAR:
            (x0, y0), (x1, y1) = to_data(anchor), to_data(end)
            axis.plot([x0, x1], [y0, y1], color=INK, linewidth=0.5, alpha=0.6, zorder=1, scalex=False, scaley=False)
