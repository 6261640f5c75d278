"""What each trained tensor costs in the backward pass, counted on the captured step of full tuning.

Reaching a deep tensor costs the operations that pass the gradient down to it; the product that makes its own gradient
comes on top (GreenTrainer, Huang et al., 2023). Operations are those of torch's ``FlopCounterMode``: products of
matrices, convolutions, attention. Tensors of one attention that stand side by side share one way down.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from workbench.devices.flops import flop_registry
from workbench.engine.capture import Joint

_CONVOLUTION = torch.ops.aten.convolution_backward.default


@dataclass(frozen=True)
class BackwardCosts:
    """Costs of every tensor that can train, from the output downwards.

    ``own`` are operations that serve one tensor's gradient alone, ``path`` those that bring the gradient down to it
    and to everything before it in the order. ``forward`` is the forward pass, ``backward`` that of full tuning.
    """

    names: tuple[str, ...]
    own: tuple[int, ...]
    path: tuple[int, ...]
    forward: int
    backward: int
    elements: tuple[int, ...]
    matrices: tuple[bool, ...]
    _needs: np.ndarray = field(repr=False, compare=False)
    _flops: np.ndarray = field(repr=False, compare=False)

    @property
    def full(self) -> int:
        """Operations of a step of full tuning."""
        return self.forward + self.backward

    def of(self, chosen: Iterable[str]) -> int:
        """Operations of the backward pass when these tensors train: what their gradients need together."""
        return self.at([self.names.index(name) for name in chosen])

    def at(self, places: Sequence[int]) -> int:
        """Like :meth:`of`, of tensors by their places in the order."""
        return int(self._flops[self._covered(places)].sum())

    def with_each(self, places: Sequence[int]) -> np.ndarray:
        """Operations when these tensors train and, each in turn, one more: (tensors,)."""
        covered = self._covered(places)
        found: np.ndarray = self._flops[covered].sum() + (self._needs & ~covered) @ self._flops
        return found

    def _covered(self, places: Sequence[int]) -> np.ndarray:
        found: np.ndarray = self._needs[list(places)].any(axis=0) if len(places) else np.zeros(len(self._flops), bool)
        return found

    @property
    def least(self) -> int:
        """The cheapest gradient of a matrix: below it only biases and scales could train."""
        alone = [o + p for o, p, is_matrix in zip(self.own, self.path, self.matrices) if is_matrix]
        return min(alone, default=0)


def backward_costs(joint: Joint) -> BackwardCosts:
    """The costs of every gradient of a joint graph. ``joint`` is not changed."""
    forward = 0
    flops: dict[fx.Node, int] = {}
    needs: dict[fx.Node, frozenset[fx.Node]] = {}
    for node in joint.graph.nodes:
        found: frozenset[fx.Node] = frozenset().union(*(needs[source] for source in node.all_input_nodes))
        operations = _operations(node)
        if node.meta.get("partitioner_tag") != "is_backward":
            forward += operations
        elif operations:
            flops[node] = operations
            found |= {node}
        needs[node] = found
    columns = {node: i for i, node in enumerate(flops)}
    table = np.zeros((len(joint.gradients), len(columns)), dtype=bool)
    for row, gradient in enumerate(joint.gradients.values()):
        table[row, [columns[node] for node in needs[gradient]]] = True
    used = table.any(axis=0)
    return _ordered(joint, table[:, used], np.array(list(flops.values()), dtype=np.int64)[used], forward)


def _ordered(joint: Joint, table: np.ndarray, flops: np.ndarray, forward: int) -> BackwardCosts:
    alone = table & (table.sum(axis=0) == 1)
    shared = table & ~alone
    order = np.argsort(shared @ flops, kind="stable")
    way = np.logical_or.accumulate(shared[order], axis=0)  # in a transformer each way down contains those before it
    names, values = list(joint.gradients), [g.meta["val"] for g in joint.gradients.values()]
    return BackwardCosts(
        tuple(names[i] for i in order),
        tuple(int(n) for n in (alone[order] @ flops)),
        tuple(int(n) for n in way @ flops),
        int(forward),
        int(flops.sum()),
        tuple(int(values[i].numel()) for i in order),
        tuple(values[i].dim() > 1 for i in order),
        table[order],
        flops,
    )


def _operations(node: fx.Node) -> int:
    """Operations of a node. The backward pass of a convolution makes two gradients; each counts where it is taken."""
    if node.op != "call_function" or node.target is _CONVOLUTION:
        return 0
    source = node.args[0] if node.target is operator.getitem else None
    if isinstance(source, fx.Node) and source.target is _CONVOLUTION:
        place = node.args[1]
        return _counted(source, (*source.args[:-1], [place == 0, place == 1, False]))
    return _counted(node, node.args)


def _counted(node: fx.Node, args: Any) -> int:
    formula = flop_registry.get(getattr(node.target, "overloadpacket", None))
    if formula is None:
        return 0
    given, named = (fx.node.map_arg(a, lambda n: n.meta["val"]) for a in (args, node.kwargs))
    return int(formula(*given, **named, out_val=node.meta["val"]))  # type: ignore[misc]
