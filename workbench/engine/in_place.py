"""Let an elementwise operator write over an input that dies there, as eager code and autograd often do."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import fx

from workbench.engine.schedule import Schedule, made_by, storages

aten = torch.ops.aten

#: Operators that read each element once before they write it, with their forms in place; and whether the two
#: inputs may change places.
_FORMS = {
    aten.add.Tensor: (aten.add_.Tensor, True),
    aten.mul.Tensor: (aten.mul_.Tensor, True),
    aten.sub.Tensor: (aten.sub_.Tensor, False),
    aten.div.Tensor: (aten.div_.Tensor, False),
    aten.mul.Scalar: (aten.mul_.Scalar, False),
    aten.add.Scalar: (aten.add_.Scalar, False),
    aten.div.Scalar: (aten.div_.Scalar, False),
    aten.neg.default: (aten.neg_.default, False),
    aten.rsqrt.default: (aten.rsqrt_.default, False),
    aten.tanh.default: (aten.tanh_.default, False),
    aten.sigmoid.default: (aten.sigmoid_.default, False),
    aten.relu.default: (aten.relu_.default, False),
    aten.silu.default: (aten.silu_.default, False),
    aten.gelu.default: (aten.gelu_.default, False),
    aten.hardtanh.default: (aten.hardtanh_.default, False),
}


def write_over(plan: Schedule) -> int:
    """Change operators of the plan's graph into their forms in place where nobody can tell; returns how many."""
    nodes = plan.joint.graph.nodes
    given = {s for n in nodes if n.op in ("placeholder", "get_attr") for s in storages(n)}  # they outlive the step
    holders: dict[int, set[str]] = defaultdict(set)
    names: dict[str, set[int]] = {}
    sharing: dict[int, list[fx.Node]] = defaultdict(list)
    for node in plan.joint.graph.nodes:
        for storage in storages(node):
            sharing[storage].append(node)
    changed = 0
    for entry in plan.entries:
        if entry.kind == "operator" and entry.node.target in _FORMS:
            target = _change(entry.node, set(entry.frees), holders, given)
            if target is not None:
                _join(entry.node, target, sharing)
                changed += 1
        for node in made_by(entry):
            names[node.name] = storages(node)
            for storage in names[node.name]:
                holders[storage].add(node.name)
        for name in entry.frees:
            for storage in names.get(name, ()):
                holders[storage].discard(name)
    return changed


def _change(node: fx.Node, dying: set[str], holders: dict[int, set[str]], given: set[int]) -> fx.Node | None:
    """Turn ``node`` into its form in place if it can be; returns the value it writes over."""
    form, commutes = _FORMS[node.target]  # type: ignore[index]
    if node.kwargs and commutes:
        return None
    for position in (0, 1) if commutes else (0,):
        target = node.args[position]
        if not isinstance(target, fx.Node) or target.op != "call_function":
            continue
        behind = storages(target)
        if behind & given or any(holders[s] - dying for s in behind):
            continue
        before, after = target.meta["val"], node.meta["val"]
        same = (before.shape, before.stride(), before.dtype) == (after.shape, after.stride(), after.dtype)
        others = [a for i, a in enumerate(node.args) if i != position]
        overlapping = any(isinstance(a, fx.Node) and storages(a) & behind for a in others)
        if not same or overlapping or not torch.ops.aten.is_non_overlapping_and_dense(before):
            continue
        node.target = form
        node.args = (target, *others) if commutes else node.args
        return target
    return None


def _join(node: fx.Node, target: fx.Node, sharing: dict[int, list[fx.Node]]) -> None:
    """From now on ``node`` and all its views lie in the storage of ``target``."""
    (old,), (new,) = storages(node), storages(target)
    for other in sharing.pop(old):
        other.meta["storages"] = (storages(other) - {old}) | {new}
        sharing[new].append(other)
