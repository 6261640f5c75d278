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
        stride = ",".join(map(str, value.stride())) if value.layout is torch.strided else _entries(value)
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


def _entries(tensor: Tensor) -> str:
    """A sparse tensor is as large as its entries are many."""
    if tensor.layout is not torch.sparse_coo:
        return str(tensor.layout)
    return f"{tensor._nnz()} entries{' in order' * tensor.is_coalesced()}"


def key_of(func: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """The same as a tuple, quicker to make and to compare; for one process only (operators live as long as it).

    Where no tensor says how large a result is, numbers alone may, so they are kept.
    """
    key: list[Any] = [id(func)]
    tensors = _add(key, args, False)
    for name, value in kwargs.items():
        key.append(name)
        tensors |= _add(key, (value,), False)
    if not tensors:
        key.extend(v for v in (*args, *kwargs.values()) if isinstance(v, float))
    return tuple(key)


def _add(key: list[Any], values: Any, listed: bool) -> bool:
    tensors = False
    for value in values:
        if isinstance(value, Tensor):
            tensors = True
            strided = value.layout is torch.strided
            key += value.dtype, value.shape, value.stride() if strided else _entries(value)
            if value.is_neg() or value.is_conj():
                key.append((value.is_neg(), value.is_conj()))
        elif isinstance(value, list | tuple):
            key.append(len(value))
            tensors |= _add(key, value, True)
        elif isinstance(value, bool | float | complex) or not isinstance(value, _HASHED):
            key += type(value), value if isinstance(value, bool) or listed else None
        else:
            key.append(value)
    return tensors


_HASHED = (int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
