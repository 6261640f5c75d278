"""Workspace by formula, for when operators may not be executed: what oneDNN takes, read off a few shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NOTE = (
    "workspace of convolutions and of bfloat16 matrix products by formulas read off a few shapes, "
    "of other operators taken as none"
)

_CHUNK = 64  #: columns of a bfloat16 product that are worked on together
_ROWS = 256  #: rows of it, at most
_TALL, _DEPTH = 128, 512  #: below so many rows no more than this depth of the right operand is copied at once
_FIXED = 1024  #: bytes beside the copies


def inside_by_formula(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> tuple[int, None]:
    """Bytes oneDNN needs to reorder an NCHW convolution or to block a bfloat16 product; none in channels-last.

    A convolution forward: the larger of source and destination; backward: source and destination together.
    """
    aten = torch.ops.aten
    if func is aten.convolution.default and isinstance(result, Tensor):
        source = args[0]
        return (0 if _channels_last(source) else max(_size(source), _size(result))), None
    if func is aten.convolution_backward.default:
        gradient, source = args[0], args[1]
        return (0 if _channels_last(source) else _size(source) + _size(gradient)), None
    if func in (aten.mm.default, aten.addmm.default):
        left, right = args[:2] if func is aten.mm.default else args[1:3]
        return (_product(left, right) if left.dtype is torch.bfloat16 else 0), None
    return 0, None


def _product(left: Tensor, right: Tensor) -> int:
    """A panel of the right operand, an accumulator in float32, and the left operand where it lies transposed."""
    (rows, inner), columns = left.shape, right.shape[1]
    depth = inner if rows >= _TALL else min(inner, _DEPTH)
    panel = -(-depth // 32) * 32 * _CHUNK * 2
    accumulator = min(rows, _ROWS) * min(columns, _CHUNK) * 4
    copied = 0 if left.is_contiguous() else _size(left)
    return _FIXED + panel + accumulator + copied


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
