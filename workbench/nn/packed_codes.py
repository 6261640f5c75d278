"""Codes of 2 to 8 bits kept in that many bits: one plane of bytes for each power of two that the width is made of.

Three bits are a plane of two bits and a plane of one, five are four and one, so every plane fills its bytes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def widths(bits: int) -> tuple[int, ...]:
    """The planes of codes of 1 to 8 bits, the lowest bits first: powers of two that sum to ``bits``."""
    return tuple(width for width in (8, 4, 2, 1) if bits & width)


def pack(codes: Tensor, bits: int) -> list[Tensor]:
    """Codes (rows, columns), uint8 below 2^bits, as planes (rows, ceil(columns * width / 8)) of uint8."""
    planes, shift = [], 0
    for width in widths(bits):
        part = (codes >> shift) & (2**width - 1)
        each = 8 // width
        columns = torch.nn.functional.pad(part, (0, -part.shape[1] % each)).unflatten(1, (-1, each))
        plane = columns[..., 0].clone()
        for place in range(1, each):
            plane |= columns[..., place] << place * width
        planes.append(plane)
        shift += width
    return planes


def unpack(planes: list[Tensor], bits: int, columns: int) -> Tensor:
    """The codes again, (rows, columns) of uint8."""
    found: Tensor | None = None
    shift = 0
    for plane, width in zip(planes, widths(bits), strict=True):
        each = 8 // width
        part = plane.new_empty((*plane.shape, each))
        for place in range(each):
            torch.bitwise_and(plane >> place * width, 2**width - 1, out=part[..., place])
        part = part.flatten(1)[:, :columns]
        found = part if found is None else found | part << shift
        shift += width
    assert found is not None
    return found
