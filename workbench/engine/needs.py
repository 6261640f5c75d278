"""What each gradient needs of the forward pass: the bytes of any update scheme without capturing it again.

The joint graph of full tuning holds the graph of every scheme. A scheme needs the union of what its gradients need,
so a search may judge thousands of schemes on one capture; the winner is then predicted in full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import fx

from workbench.engine.capture import Joint
from workbench.engine.schedule import storages
from workbench.memory.step import storages_of, tensors_in


@dataclass(frozen=True)
class Needs:
    """``kept`` (gradient, storage) says which forward storages a gradient's backward operators read.

    ``sizes`` are the bytes of those storages, ``gradients`` those of the gradients, in the order of ``names``.
    """

    names: tuple[str, ...]
    kept: np.ndarray
    sizes: np.ndarray
    gradients: np.ndarray

    def saved(self, chosen: Iterable[str]) -> int:
        """Bytes that the forward pass leaves for the backward pass when these parameters train."""
        rows = [self.names.index(name) for name in chosen]
        return int(self.sizes[self.kept[rows].any(axis=0)].sum()) if rows else 0


def needs(joint: Joint) -> Needs:
    """The needs of every gradient of a joint graph."""
    given = {s for n in joint.graph.find_nodes(op="placeholder") for s in storages(n)}
    size: dict[int, int] = {}
    reads: dict[fx.Node, frozenset[int]] = {}
    for node in joint.graph.nodes:
        for tensor in tensors_in(node.meta.get("val")):
            for storage in storages_of(tensor):
                size[storage._cdata] = storage.nbytes()
    for node in joint.graph.nodes:
        if node.op != "call_function":
            continue
        found: set[int] = set()
        if _in_backward(node):
            for source in node.all_input_nodes:
                if source.op == "call_function" and not _in_backward(source):
                    found |= storages(source) - given
                else:
                    found |= reads.get(source, frozenset())
        reads[node] = frozenset(found)
    columns = sorted({s for g in joint.gradients.values() for s in reads.get(g, ())})
    place = {s: i for i, s in enumerate(columns)}
    kept = np.zeros((len(joint.gradients), len(columns)), dtype=bool)
    for row, gradient in enumerate(joint.gradients.values()):
        kept[row, [place[s] for s in reads.get(gradient, ())]] = True
    sizes = np.array([size[s] for s in columns], dtype=np.int64)
    gradients = [sum(t.untyped_storage().nbytes() for t in tensors_in(g.meta["val"])) for g in joint.gradients.values()]
    return Needs(tuple(joint.gradients), kept, sizes, np.array(gradients, dtype=np.int64))


def _in_backward(node: fx.Node) -> bool:
    return bool(node.meta.get("partitioner_tag") == "is_backward")
