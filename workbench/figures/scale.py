"""Round numbers for axes of bytes, and places for labels that do not cover one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

Box = tuple[float, float, float, float]  #: left, bottom, right, top


def size_ticks(low: float, high: float, *, log: bool) -> list[int]:
    """Between three and seven round sizes in bytes that cover ``low`` to ``high``."""
    low, high = max(1.0, low), max(2.0, high)
    if log:
        exponents = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
        step = max(1, math.ceil(len(exponents) / 7))
        return [2**e for e in exponents if e % step == 0]
    unit = 1024 ** int(math.log(high, 1024))
    rough = (high / unit) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    return [
        round(i * step * unit) for i in range(int(high / unit / step) + 1) if i * step * unit >= low * 0.999 or i == 0
    ]


def thinned(line: Sequence[tuple[float, float]], tolerance: float) -> list[tuple[float, float]]:
    """The line without the points that lie within ``tolerance`` (in y) of the rest (Douglas and Peucker 1973)."""
    keep = {0, len(line) - 1}
    stack = [(0, len(line) - 1)]
    while stack:
        first, last = stack.pop()
        (x0, y0), (x1, y1) = line[first], line[last]
        worst, at = tolerance, 0
        for i in range(first + 1, last):
            x, y = line[i]
            off = abs(y - (y0 + (y1 - y0) * (x - x0) / ((x1 - x0) or 1)))
            if off > worst:
                worst, at = off, i
        if at:
            keep.add(at)
            stack += [(first, at), (at, last)]
    return [line[i] for i in sorted(keep)]


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    obstacles: Sequence[Box] = (),
    gap: float = 9.0,
) -> list[Box]:
    """A box for each label near its anchor that covers no other label, mark or obstacle where one exists.

    All in pixels. Candidates go round the anchor at growing distance; the one with the least overlap wins.
    """
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in anchors]
    placed: list[Box] = []
    for (x, y), (width, height) in zip(anchors, sizes):
        best, least = None, math.inf
        for box in _candidates(x, y, width, height, gap):
            cost = sum(_overlap(box, other) for other in (*placed, *marks, *obstacles)) + 4 * _outside(box, bounds)
            if cost < least - 1e-9:
                best, least = box, cost
            if cost == 0:
                break
        assert best is not None
        placed.append(best)
    return placed


def _candidates(x: float, y: float, width: float, height: float, gap: float) -> Iterator[Box]:
    for ring in range(7):
        g = gap * (1 + 1.6 * ring)
        yield x + g, y - height / 2, x + g + width, y + height / 2
        yield x - g - width, y - height / 2, x - g, y + height / 2
        yield x - width / 2, y + g, x + width / 2, y + g + height
        yield x - width / 2, y - g - height, x + width / 2, y - g
        yield x + g * 0.7, y + g * 0.7, x + g * 0.7 + width, y + g * 0.7 + height
        yield x + g * 0.7, y - g * 0.7 - height, x + g * 0.7 + width, y - g * 0.7
        yield x - g * 0.7 - width, y + g * 0.7, x - g * 0.7, y + g * 0.7 + height
        yield x - g * 0.7 - width, y - g * 0.7 - height, x - g * 0.7, y - g * 0.7


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box, bounds: Box) -> float:
    width, height = box[2] - box[0], box[3] - box[1]
    return width * height - _overlap(box, bounds)
