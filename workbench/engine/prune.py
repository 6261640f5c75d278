"""Remove from a joint graph what no kept output needs: dead operators, and inputs that an operator never reads.

Dead-code elimination alone does what freezing cannot: a tensor that only a gradient outside the update set would
have read is not kept. Two operators ask for an input without reading it. The gradient of a convolution's input is
a function of weight and output gradient, and that of a frozen batch norm in evaluation mode is one product.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from workbench.engine.capture import Joint

aten = torch.ops.aten


def prune(joint: Joint) -> Joint:
    """The same joint graph in place, without what its outputs do not need."""
    for node in list(joint.graph.nodes):
        if node.op == "call_function":
            rewrite = _REWRITES.get(node.target)
            if rewrite is not None:
                rewrite(joint, node)
    joint.set_output()
    joint.graph.eliminate_dead_code()  # random operators stay: the numbers of the ones after them must not change
    for inputs in (joint.parameters, joint.buffers, joint.batch):
        for name, node in list(inputs.items()):
            if not node.users and name not in joint.mutations and name not in joint.gradients:
                del inputs[name]
                joint.graph.erase_node(node)
    joint.graph.lint()
    return joint


def _without_detach(joint: Joint, node: fx.Node) -> None:
    joint.replace(node, node.args[0])  # type: ignore[arg-type]


def _gradient_of_frozen_convolution(joint: Joint, node: fx.Node) -> None:
    """``convolution_backward`` that gives only the input's gradient: an empty tensor stands in for the input."""
    mask: Any = node.args[-1]
    source: Any = node.args[1]
    if list(mask) != [True, False, False] or source.op == "placeholder":
        return
    value = source.meta["val"]
    with joint.graph.inserting_before(node):
        stand_in = joint.graph.call_function(
            aten.empty_strided.default,
            (list(value.shape), list(value.stride())),
            {"dtype": value.dtype, "device": value.device},
        )
    _like(stand_in, node, value)
    node.update_arg(1, stand_in)


def _gradient_of_frozen_norm(joint: Joint, node: fx.Node) -> None:
    """``native_batch_norm_backward`` in evaluation mode with nothing trained: ``grad * weight / sqrt(var + eps)``."""
    grad, _source, weight, _mean, variance, _save_mean, _save_invstd, train, eps, mask = node.args
    if train or list(mask) != [True, False, False] or variance is None:  # type: ignore[call-overload]
        return
    shape = [1, -1, *[1] * (grad.meta["val"].ndim - 2)]  # type: ignore[union-attr]
    chain: list[tuple[Any, Callable[[Any], tuple[Any, ...]]]] = [
        (aten.add.Tensor, lambda x: (x, eps)),
        (aten.rsqrt.default, lambda x: (x,)),
        *([(aten.mul.Tensor, lambda x: (x, weight))] if weight is not None else []),
        (aten.view.default, lambda x: (x, shape)),
        (aten.mul.Tensor, lambda x: (grad, x)),
    ]
    made: Any = variance
    with joint.graph.inserting_before(node):
        for target, arguments in chain:
            given = arguments(made)
            new = joint.graph.call_function(target, given)
            values = [a.meta["val"] if isinstance(a, fx.Node) else a for a in given]
            _like(new, node, target(*values))
            made = new
    for user in list(node.users):
        if user.target is operator.getitem and user.args[1] == 0:
            user.replace_all_uses_with(made)


def _norm_in_place(joint: Joint, node: fx.Node) -> None:
    """A functional batch norm copies its running statistics only to write them back: let it move them itself."""
    statistics = [node.args[3], node.args[4]]
    items = {user.args[1]: user for user in node.users if user.target is operator.getitem}
    names = {value: name for name, value in joint.mutations.items()}
    ours = [names.get(items.get(3)), names.get(items.get(4))]  # type: ignore[arg-type]
    if [joint.buffers.get(name or "") for name in ours] != statistics:
        return
    if any(len(s.users) != 1 for s in statistics) or any(i in items and len(items[i].users) > 1 for i in (3, 4)):  # type: ignore[union-attr]
        return
    node.target = aten._native_batch_norm_legit.default
    for name in ours:
        del joint.mutations[name or ""]
    joint.set_output()
    for index in (3, 4):
        joint.graph.erase_node(items[index])
    node.meta["val"] = node.meta["val"][:3]
    node.meta["moves"] = tuple(ours)


def _like(node: fx.Node, other: fx.Node, value: Any) -> None:
    """Place a new node where ``other`` is: same phase and module."""
    node.meta = {k: v for k, v in other.meta.items() if k in ("partitioner_tag", "custom", "seq_nr")}
    node.meta["val"] = value


_REWRITES: dict[Any, Callable[[Joint, fx.Node], None]] = {
    aten.detach.default: _without_detach,
    aten.convolution_backward.default: _gradient_of_frozen_convolution,
    aten.native_batch_norm_backward.default: _gradient_of_frozen_norm,
    aten._native_batch_norm_legit_functional.default: _norm_in_place,
}
