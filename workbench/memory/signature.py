"""The signature of an operator call: all that the sizes it handles can depend on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def signature(func: Any, args: Any, kwargs: Any) -> str:
    """The operator and everything its workspace can depend on: layout of every tensor, every other argument."""
    return f"{func.name()}{_written(args)}{_written(sorted(kwargs.items()))}"


def _written(value: Any) -> str:
    """Numbers in a list (scale factors) can change sizes; a number alone never does."""
    if isinstance(value, Tensor):
        shape = ",".join(map(str, value.shape))
        stride = ",".join(map(str, value.stride())) if value.layout is torch.strided else str(value.layout)
        # A conjugated or negated view is written out by kernels that cannot read it as it lies.
        view = "*" * value.is_conj() + "-" * value.is_neg()
        return f"<{str(value.dtype).removeprefix('torch.')}|{shape}|{stride}{view}>"
    if isinstance(value, list | tuple):
        return "(" + ";".join(repr(v) if isinstance(v, float) else _written(v) for v in value) + ")"
    if isinstance(value, bool | int | str) or value is None:
        return repr(value)
    if isinstance(value, float | complex):
        return type(value).__name__  # its value changes no size
    return str(value) if isinstance(value, torch.dtype | torch.device | torch.layout) else type(value).__name__
