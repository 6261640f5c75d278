"""Workspace by formula, for when operators may not be executed: what oneDNN and torch's own kernels take, read off a
few shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NOTE = (
    "workspace of convolutions, of bfloat16 and complex matrix products and of sums by formulas read off a few "
    "shapes, of other operators taken as none"
)

_CHUNK = 64  #: columns of a bfloat16 product that are worked on together
_ROWS = 256  #: rows of it, at most
_TALL, _DEPTH = 128, 512  #: below so many rows no more than this depth of the right operand is copied at once
_FIXED = 1024  #: bytes beside the copies


_OWN = 20_480  #: numbers of a batch of one up to which torch convolves by itself
_DIRECT = 400  #: multiplications below which a complex product is looped over where its operands lie


def inside_by_formula(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> tuple[int, None]:
    """Bytes that the kernel of ``func`` takes beside its results, for the kernels that are known here; else none."""
    aten = torch.ops.aten
    if func is aten.convolution.default and isinstance(result, Tensor):
        return _convolution(*args[:2], result, transposed=args[6]), None
    if func is aten.convolution_backward.default:
        return _convolution_backward(*args[:3], transposed=args[7]), None
    if func in (aten.mm.default, aten.addmm.default):
        left, right = args[:2] if func is aten.mm.default else args[1:3]
        return (_product(left, right) if left.dtype is torch.bfloat16 else 0), None
    if func is aten.bmm.default and args[0].is_complex():
        return _complex_products(*args[:2]), None
    if func in (aten.sum.default, aten.sum.dim_IntList):
        return (args[0].numel() * result.element_size() if result.dtype is not args[0].dtype else 0), None
    if func is aten.mean.dim and args[0].dtype in (torch.bfloat16, torch.float16):
        return 4 * (args[0].numel() + result.numel()), None  # operand and result in float32
    return 0, None


def _convolution(source: Tensor, weight: Tensor, result: Tensor, transposed: bool) -> int:
    """What oneDNN reorders: the largest of source, destination and weights; all of the destination and one example of
    the source where it is transposed."""
    if _channels_last(source):
        return 0
    if not transposed:
        return max(map(_size, (source, weight, result)))
    return _columns(source, weight) or _size(result) + _size(source) // source.shape[0]


def _convolution_backward(gradient: Tensor, source: Tensor, weight: Tensor, transposed: bool) -> int:
    """Source and destination are reordered together, twice where it is transposed."""
    if _channels_last(source):
        return 0
    return (transposed and _columns(source, weight)) or (1 + transposed) * (_size(source) + _size(gradient))


def _columns(source: Tensor, weight: Tensor) -> int:
    """Size of the unrolled destination of a transposed convolution that torch computes itself; 0 where oneDNN does.

    torch's own choice: one small example, and a kernel of at most three numbers a side.
    """
    small = source.shape[0] == 1 and source.numel() <= _OWN and min(weight.shape[2:]) <= 3
    return weight[0].numel() * source[0, 0].numel() * source.element_size() if small else 0


def _product(left: Tensor, right: Tensor) -> int:
    """A panel of the right operand, an accumulator in float32, and the left operand where it lies transposed."""
    (rows, inner), columns = left.shape, right.shape[1]
    depth = inner if rows >= _TALL else min(inner, _DEPTH)
    panel = -(-depth // 32) * 32 * _CHUNK * 2
    together = -(-rows // -(-rows // _ROWS))  # rows are shared out evenly
    accumulator = together * min(columns, _CHUNK) * 4
    copied = 0 if left.is_contiguous() else _size(left)
    return _FIXED + panel + accumulator + copied


def _complex_products(left: Tensor, right: Tensor) -> int:
    """Conjugates are written out; then each pair of matrices that lies with gaps is copied in turn."""
    conjugated = sum(_size(operand) for operand in (left, right) if operand.is_conj())
    (_, rows, inner), columns = left.shape, right.shape[2]
    if rows * inner * columns < _DIRECT:
        return conjugated
    return conjugated + sum(_size(o[0]) for o in (left, right) if 1 not in o.stride()[1:])


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
