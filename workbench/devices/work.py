"""Counted work of one step: floating-point operations and bytes moved, by class of operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.devices.record import Recorder

#: Classes of operator, in the order tables show them. ``view`` moves nothing and costs only its call.
GROUPS = ("gemm", "attention", "elementwise", "reduction", "gather", "optimizer", "rng", "view")


@dataclass(frozen=True)
class GroupWork:
    """Work of one class: calls, bytes moved, and floating-point operations by dtype."""

    calls: int = 0
    bytes: int = 0
    flops: Mapping[str, int] = field(default_factory=dict)

    def times(self, count: int) -> GroupWork:
        """The same work done ``count`` times."""
        return GroupWork(self.calls * count, self.bytes * count, {d: f * count for d, f in self.flops.items()})


@dataclass(frozen=True)
class Work:
    """Work of one step. ``flops`` counts what torch's ``FlopCounterMode`` counts (matrix products, convolutions,
    attention; a multiply-add is two), grouped convolutions put right; ``bytes`` is every operand read and result
    written once.
    """

    groups: Mapping[str, GroupWork]

    @property
    def flops(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for group in self.groups.values():
            total.update(group.flops)
        return dict(total)

    @property
    def total_flops(self) -> int:
        return sum(self.flops.values())

    @property
    def bytes(self) -> int:
        return sum(group.bytes for group in self.groups.values())

    @property
    def calls(self) -> int:
        return sum(group.calls for group in self.groups.values())

    def to_dict(self) -> dict[str, Any]:
        return {n: {"calls": g.calls, "bytes": g.bytes, "flops": dict(g.flops)} for n, g in self.groups.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Work:
        return cls({n: GroupWork(g["calls"], g["bytes"], dict(g["flops"])) for n, g in raw.items()})


def work_of(recorder: Recorder) -> Work:
    """Sum what a recorder saw."""
    calls: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    flops: dict[str, Counter[str]] = {}
    for signature, count in recorder.calls.items():
        calls[signature.group] += count
        moved[signature.group] += count * signature.bytes
        if signature.flops:
            flops.setdefault(signature.group, Counter())[signature.dtype] += count * signature.flops
    return Work({g: GroupWork(calls[g], moved[g], dict(flops.get(g, {}))) for g in GROUPS if calls[g]})


def count(run: Callable[[], Any], *, warm: int = 0) -> Work:
    """Work of ``run()``, one whole step, on real tensors or inside an entered ``FakeTensorMode``.

    ``warm`` steps are run first and not counted, so that lazily made optimizer state is not billed.
    """
    from workbench.devices.record import record

    return work_of(record(run, warm=warm))
