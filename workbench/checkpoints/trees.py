"""Nested optimizer state as named tensors and plain JSON, so that nothing is ever pickled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def planted(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` (nested dicts, lists and tuples) as JSON; its tensors go to ``tensors`` under names from ``name`` on.

    A tensor is kept as it lies in memory. Raises ``TypeError`` for what is neither a tensor nor plain.
    """
    if isinstance(value, Tensor):
        order = sorted(range(value.dim()), key=lambda d: -value.stride(d))
        laid = value.detach().permute(order)
        if not laid.is_contiguous():  # a view with gaps: its values are what counts
            order, laid = list(range(value.dim())), value.detach().contiguous()
        same = next((n for n, t in tensors.items() if _same(t, laid)), name)
        tensors[same] = laid
        return {"tensor": same, "order": order}
    if isinstance(value, Mapping):
        return {"items": [[key, planted(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [planted(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


def grown(tree: Mapping[str, Any], tensors: Mapping[str, Tensor], made: dict[str, Tensor] | None = None) -> Any:
    """What :func:`planted` was given, in the same layout and in memory of its own; what was shared is shared again.

    ``made`` collects the tensors by name; pass one mapping for all trees that were planted together.
    """
    made = {} if made is None else made
    if "tensor" in tree:
        name, order = tree["tensor"], tree["order"]
        if name not in made:
            made[name] = tensors[name].clone()
        return made[name].permute([order.index(i) for i in range(len(order))])
    if "items" in tree:
        return {key: grown(item, tensors, made) for key, item in tree["items"]}
    if "plain" in tree:
        return tree["plain"]
    if "tuple" in tree:
        return tuple(grown(item, tensors, made) for item in tree["tuple"])
    return [grown(item, tensors, made) for item in tree["list"]]


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same memory (tables that a library shares among all states)."""
    return one.numel() > 0 and one.data_ptr() == other.data_ptr() and one.shape == other.shape
