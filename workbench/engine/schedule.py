"""The order in which a joint graph runs: operators, updates among them, and where each value dies.

An update stands right after its gradient, once nothing later reads the weight's storage, views included. Then
the gradient dies there, and at most a few gradients are alive at a time instead of all (update in place, the
"operator reordering" of PockEngine and of training under 256 KB). The schedule is a value; the bytes along it
are a pure function of the graph.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from workbench.core.profile import Phase
from workbench.engine.capture import MODULE, Joint
from workbench.memory.step import storages_of, tensors_in


@dataclass(frozen=True)
class Entry:
    """One act of the step: an operator, or the update of one parameter, or a buffer's new value written back.

    ``frees`` names the values that nobody needs any more after it.
    """

    kind: str  #: operator, update or write
    name: str  #: of the value made, the parameter updated or the buffer written
    node: fx.Node
    phase: Phase
    module: str
    frees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """Entries in order. ``early`` says whether updates stand at their gradients or after the backward pass."""

    joint: Joint
    entries: tuple[Entry, ...]
    early: bool


def schedule(joint: Joint, *, early: bool = True, in_place: bool = True) -> Schedule:
    """The order of the trace with updates and writes placed, and the death of each value after its last use.

    With ``in_place`` an elementwise operator writes over an input that dies there, as eager code often does.
    """
    plan = _placed(joint, early)
    if in_place:
        from workbench.engine.in_place import write_over

        write_over(plan)
        plan = _placed(joint, early)
    return plan


def _placed(joint: Joint, early: bool) -> Schedule:
    nodes = [n for n in joint.graph.nodes if n.op in ("call_function", "get_attr")]
    place = {node: i for i, node in enumerate(nodes)}
    after: dict[int, list[Entry]] = defaultdict(list)
    ended = len(nodes) - 1
    last_use = _last_uses(joint, place)
    for name, gradient in joint.gradients.items():
        at = max(place.get(gradient, -1), last_use[joint.parameters[name]]) if early else ended
        after[at].append(Entry("update", name, gradient, Phase.UPDATE, name.rpartition(".")[0]))
    for name, value in joint.mutations.items():
        at = max(place.get(value, -1), last_use[joint.buffers[name]])
        phase = _phase(value) if value in place else Phase.FORWARD
        after[at].append(Entry("write", name, value, phase, name.rpartition(".")[0]))
    entries = list(after[-1])
    for index, node in enumerate(nodes):
        if not _is_item(node):
            entries.append(Entry("operator", node.name, node, _phase(node), _module(node)))
        entries.extend(after[index])
    return Schedule(joint, tuple(_with_deaths(joint, entries)), early)


def _last_uses(joint: Joint, place: dict[fx.Node, int]) -> dict[fx.Node, int]:
    """Index of the last operator that reads a parameter's or buffer's storage, through any of its views."""
    last: dict[int, int] = {}
    for node, index in place.items():
        for read in node.all_input_nodes:
            for storage in storages(read):
                last[storage] = index
    return {p: max((last.get(s, -1) for s in storages(p)), default=-1) for p in joint.placeholders.values()}


def _with_deaths(joint: Joint, entries: list[Entry]) -> Iterator[Entry]:
    last: dict[str, int] = {}
    for index, entry in enumerate(entries):
        made = [n.name for n in made_by(entry)]
        read = [n.name for n in read_by(entry) if n.op != "placeholder"]
        last.update(dict.fromkeys([*made, *read], index))
    last.pop(joint.loss.name, None)
    dying: dict[int, list[str]] = defaultdict(list)
    for name, index in last.items():
        dying[index].append(name)
    for index, entry in enumerate(entries):
        yield Entry(entry.kind, entry.name, entry.node, entry.phase, entry.module, tuple(dying[index]))


def shared_gradients(plan: Schedule) -> set[str]:
    """Parameters whose gradient lies in storage that something else still holds when it is complete."""
    given = {s for n in plan.joint.graph.find_nodes(op="placeholder") for s in storages(n)}
    behind = {name: storages(node) for name, node in plan.joint.gradients.items()}
    last: dict[int, int] = {}
    for index, entry in enumerate(plan.entries):
        for node in [*made_by(entry), *read_by(entry)]:
            last.update(dict.fromkeys(storages(node), index))
    at = {entry.name: index for index, entry in enumerate(plan.entries) if entry.kind == "update"}
    return {n for n, found in behind.items() if found & given or any(last[s] > at[n] for s in found)}


def made_by(entry: Entry) -> list[fx.Node]:
    """The values an entry makes: one node, or the used items of an operator that returns several."""
    if entry.kind != "operator":
        return []
    items = [user for user in entry.node.users if _is_item(user)]
    return items or ([] if isinstance(entry.node.meta.get("val"), tuple | list) else [entry.node])


def read_by(entry: Entry) -> list[fx.Node]:
    """The values an entry reads."""
    return entry.node.all_input_nodes if entry.kind == "operator" else [entry.node]


def storages(node: fx.Node) -> set[int]:
    """Addresses of the (fake) storages behind a node's value; nodes that share one are views of each other.

    A view lies where what it looks at lies, even if that has been replaced since the view was traced.
    """
    if "storages" not in node.meta:
        base = _looked_at(node)
        own = {s._cdata for t in tensors_in(node.meta.get("val")) for s in storages_of(t)}
        node.meta["storages"] = own if base is None else storages(base)
    found: set[int] = node.meta["storages"]
    return found


def _looked_at(node: fx.Node) -> fx.Node | None:
    """What a view, or an item of an operator that gives views, looks at."""
    maker: Any = node.args[0] if _is_item(node) else node
    if not isinstance(maker, fx.Node) or maker.op != "call_function":
        return None
    if getattr(maker.target, "is_view", False) or maker.target is torch.ops.aten._unsafe_view.default:
        base = maker.args[0]
        return base if isinstance(base, fx.Node) else None
    return None


def _is_item(node: fx.Node) -> bool:
    return node.target is operator.getitem


def _phase(node: fx.Node) -> Phase:
    return Phase.BACKWARD if node.meta.get("partitioner_tag") == "is_backward" else Phase.FORWARD


def _module(node: fx.Node) -> str:
    return str((node.meta.get("custom") or {}).get(MODULE, ""))


# -- bytes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Live:
    """Bytes alive while one entry runs, weights, optimizer state and inputs not counted.

    ``total`` includes ``gradients``; ``saved`` is what the backward pass still needs of the forward pass.
    """

    entry: Entry
    total: int
    gradients: int
    saved: int


def live_bytes(plan: Schedule) -> list[Live]:
    """Bytes along the schedule by the shapes in its graph alone; workspace inside operators is not in them."""
    given = {s for n in plan.joint.graph.find_nodes(op="placeholder") for s in storages(n)}
    gradient_storages = {s for n in plan.joint.gradients.values() for s in storages(n)}
    size: dict[int, int] = {}
    holders: dict[int, set[str]] = defaultdict(set)
    of: dict[str, set[int]] = {}
    made_in: dict[int, Phase] = {}
    found = []
    for entry in plan.entries:
        for node in made_by(entry):
            of[node.name] = storages(node) - given
            for tensor in tensors_in(node.meta["val"]):
                for storage in storages_of(tensor):
                    size[storage._cdata] = storage.nbytes()
            for storage in of[node.name]:
                holders[storage].add(node.name)
                made_in.setdefault(storage, entry.phase)
        live = [s for s, names in holders.items() if names]
        found.append(
            Live(
                entry,
                sum(size[s] for s in live),
                sum(size[s] for s in live if s in gradient_storages),
                sum(size[s] for s in live if made_in[s] is Phase.FORWARD),
            )
        )
        for name in entry.frees:
            for storage in of.get(name, ()):
                holders[storage].discard(name)
    return found


def peak_bytes(plan: Schedule) -> int:
    """The most bytes alive along the schedule."""
    return max((live.total for live in live_bytes(plan)), default=0)


def saved_bytes(plan: Schedule) -> int:
    """Bytes that the forward pass leaves for the backward pass."""
    lives = live_bytes(plan)
    first = next((i for i, live in enumerate(lives) if live.entry.phase is Phase.BACKWARD), None)
    if first is None:
        return 0
    made = {n.name for n in made_by(plan.entries[first])}
    fresh = sum(s.nbytes() for n in made_by(plan.entries[first]) for s in _storage_objects(n)) if made else 0
    return lives[first].total - fresh


def _storage_objects(node: fx.Node) -> list[torch.UntypedStorage]:
    return [s for t in tensors_in(node.meta["val"]) for s in storages_of(t)]


def order(plan: Schedule) -> list[tuple[str, str, str, int]]:
    """The schedule to look at: kind, what, module and live bytes of each entry in turn."""
    return [(live.entry.kind, _title(live.entry), live.entry.module, live.total) for live in live_bytes(plan)]


def _title(entry: Entry) -> str:
    if entry.kind != "operator":
        return entry.name
    target: Any = entry.node.target
    return str(target).removeprefix("aten.")


def matrix_products(joint: Joint) -> dict[str, int]:
    """How often each operator that multiplies matrices stands in the graph."""
    counted: dict[str, int] = defaultdict(int)
    for node in joint.graph.nodes:
        name = str(node.target)
        if name.startswith(("aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.convolution")):
            counted[name] += 1
    return dict(counted)
