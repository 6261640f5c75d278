"""Places for the large tensors of a step, found by going through it in time and keeping many layouts at once.

Greedy placement decides where a tensor lies without knowing what has to lie beside it later. Here every allocation is
tried at both ends of every gap, and layouts of what is alive are kept side by side: two ways to the same layout are
one. Where no layout fits under the cap any more, there is none to be had this way.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

WIDTH = 400  #: layouts kept at one moment

Layout = tuple[tuple[int, int], ...]  #: (offset, tensor) of what is alive, in the order of the offsets


def packed(
    sizes: Sequence[int], starts: Sequence[int], ends: Sequence[int], cap: int, width: int = WIDTH
) -> list[int] | None:
    """Offsets (bytes) below ``cap`` of tensors with lifetimes ``[start, end)``; ``None`` where none was found."""
    layouts: dict[Layout, Any] = {(): None}
    moments = sorted([(t, 1, i) for i, t in enumerate(starts)] + [(t, 0, i) for i, t in enumerate(ends)])
    chance = random.Random(0)
    for _, begins, tensor in moments:
        if begins:
            layouts = _placed(layouts, tensor, sizes, cap)
        else:
            layouts = {tuple(x for x in layout if x[1] != tensor): way for layout, way in layouts.items()}
        if not layouts:
            return None
        if len(layouts) > width:
            order = sorted(layouts, key=lambda layout: (_gaps(layout, sizes, cap), chance.random()))
            kept = order[: width // 2] + chance.sample(order[width // 2 :], width - width // 2)
            layouts = {layout: layouts[layout] for layout in kept}
    offsets, way = [0] * len(sizes), next(iter(layouts.values()))
    while way is not None:
        tensor, offset, way = way
        offsets[tensor] = offset
    return offsets


def _placed(layouts: dict[Layout, Any], tensor: int, sizes: Sequence[int], cap: int) -> dict[Layout, Any]:
    """Every layout with the tensor at either end of every gap that holds it; with each the way that led to it."""
    found: dict[Layout, Any] = {}
    size = sizes[tensor]
    for layout, way in layouts.items():
        floor = 0
        for offset, other in (*layout, (cap, -1)):
            if offset - floor >= size:
                for place in {floor, offset - size}:
                    found.setdefault(tuple(sorted((*layout, (place, tensor)))), (tensor, place, way))
            floor = offset + sizes[other]
    return found


def _gaps(layout: Layout, sizes: Sequence[int], cap: int) -> int:
    floor = count = 0
    for offset, tensor in (*layout, (cap, -1)):
        count += offset > floor
        floor = offset + sizes[tensor]
    return count
