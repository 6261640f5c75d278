"""Drop views that change nothing, and let a reshaping of a reshaping look at the value itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from workbench.engine.capture import Joint

aten = torch.ops.aten


def simplify(joint: Joint) -> Joint:
    """The same joint graph in place with fewer operators; the values of its outputs are the same to the bit."""
    for node in list(joint.graph.nodes):
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor) or not _is_view(node):
            continue
        found = _same_view(node)
        if found is not None:
            joint.replace(node, found)
        elif node.target in (aten.view.default, aten._unsafe_view.default):
            _view_of_the_first(node)
    joint.set_output()
    joint.graph.eliminate_dead_code()
    return joint


def _is_view(node: fx.Node) -> bool:
    return getattr(node.target, "is_view", False) or node.target is aten._unsafe_view.default


def _behind(node: fx.Node) -> list[fx.Node]:
    """What a view looks at, nearest first, through views of views."""
    found = []
    while _is_view(node) and isinstance(node.args[0], fx.Node) and isinstance(node.args[0].meta.get("val"), Tensor):
        node = node.args[0]
        found.append(node)
    return found


def _lies(value: Tensor) -> tuple[Any, ...]:
    return value.shape, value.stride(), value.storage_offset(), value.dtype


def _same_view(node: fx.Node) -> fx.Node | None:
    """Something behind this view that lies exactly as it does, as after two transpositions."""
    mine = _lies(node.meta["val"])
    return next((n for n in _behind(node) if _lies(n.meta["val"]) == mine), None)


def _view_of_the_first(node: fx.Node) -> None:
    """A reshaping of a reshaping looks at the whole contiguous value itself."""
    value = node.meta["val"]
    for other in reversed(_behind(node)):
        theirs = other.meta["val"]
        whole = theirs.is_contiguous() and theirs.numel() == value.numel() and theirs.dtype == value.dtype
        if whole and theirs.storage_offset() == value.storage_offset() and value.is_contiguous():
            node.target = aten.view.default
            node.args = (other, list(value.shape))
            return
