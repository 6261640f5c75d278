"""Workspace by formula, for when operators may not be executed: convolutions only, read off a few shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NOTE = "workspace of convolutions by a formula read off six shapes, of other operators taken as none"


def inside_by_formula(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> tuple[int, None]:
    """Bytes oneDNN needs to reorder an NCHW convolution; none in channels-last.

    Forward: the larger of source and destination. Backward: source and destination together.
    """
    aten = torch.ops.aten
    if func is aten.convolution.default and isinstance(result, Tensor):
        source = args[0]
        return (0 if _channels_last(source) else max(_size(source), _size(result))), None
    if func is aten.convolution_backward.default:
        gradient, source = args[0], args[1]
        return (0 if _channels_last(source) else _size(source) + _size(gradient)), None
    return 0, None


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
