"""The event log of one or more steps and its replay into a ``MemoryProfile``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from workbench.core.profile import Category, MemoryProfile, Moment, Phase, Tier

TIMELINE = 400  #: most moments a profile keeps


class Kind(Enum):
    ALLOCATED = auto()
    FREED = auto()
    INSIDE = auto()
    """Bytes an operator needed inside itself on top of its inputs and outputs; gone when it returned."""


@dataclass(slots=True)
class Allocation:
    """One storage. ``category`` is set when its use is known; ``None`` replays as workspace."""

    size: int
    operator: str
    module: str
    phase: Phase
    category: Category | None = None
    node: int = -1
    recomputed: bool = False


class Event(NamedTuple):
    kind: Kind
    storage: int  #: index into ``EventLog.allocations``; for INSIDE the bytes
    operator: str
    module: str
    phase: Phase


@dataclass
class EventLog:
    """Allocations and frees in order. ``begin`` marks where the step of interest starts."""

    allocations: list[Allocation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    live: set[int] = field(default_factory=set)
    live_bytes: int = 0
    start: int = 0
    baseline: set[int] = field(default_factory=set)

    def allocate(self, allocation: Allocation) -> int:
        index = len(self.allocations)
        self.allocations.append(allocation)
        self.events.append(Event(Kind.ALLOCATED, index, allocation.operator, allocation.module, allocation.phase))
        self.live.add(index)
        self.live_bytes += allocation.size
        return index

    def free(self, index: int, operator: str, module: str, phase: Phase) -> None:
        self.events.append(Event(Kind.FREED, index, operator, module, phase))
        self.live.discard(index)
        self.live_bytes -= self.allocations[index].size

    def inside(self, size: int, operator: str, module: str, phase: Phase) -> None:
        self.events.append(Event(Kind.INSIDE, size, operator, module, phase))

    def begin(self) -> None:
        """Start a new step here: what is live now is its baseline."""
        self.events.clear()
        self.baseline = set(self.live)

    def sequence(self) -> list[tuple[str, int]]:
        """``(operator, signed size)`` of the step, to compare two runs event by event."""
        return [
            (e.operator, self.allocations[e.storage].size * (1 if e.kind is Kind.ALLOCATED else -1))
            for e in self.events
            if e.kind is not Kind.INSIDE
        ]


def categories_of(log: EventLog, members: Iterable[int]) -> Counter[Category]:
    split: Counter[Category] = Counter(dict.fromkeys(Category, 0))
    for index in members:
        allocation = log.allocations[index]
        split[allocation.category or Category.WORKSPACE] += allocation.size
    return split


def _moments(log: EventLog) -> list[tuple[int, int]]:
    """``(event index, live bytes)`` of every event that can be a maximum."""
    live = sum(log.allocations[i].size for i in log.baseline)
    found = []
    for position, event in enumerate(log.events):
        if event.kind is Kind.INSIDE:
            found.append((position, live + event.storage))
            continue
        size = log.allocations[event.storage].size
        live += size if event.kind is Kind.ALLOCATED else -size
        found.append((position, live))
    return found


def _members(log: EventLog, position: int) -> tuple[set[int], int]:
    """Storages live right after event ``position``, and the bytes inside the operator then."""
    members = set(log.baseline)
    for event in log.events[: position + 1]:
        if event.kind is Kind.ALLOCATED:
            members.add(event.storage)
        elif event.kind is Kind.FREED:
            members.discard(event.storage)
    last = log.events[position] if log.events else None
    return members, last.storage if last is not None and last.kind is Kind.INSIDE else 0


def _split_at(log: EventLog, position: int) -> dict[Category, int]:
    members, inside = _members(log, position)
    split = categories_of(log, members)
    split[Category.WORKSPACE] += inside
    return dict(split)


def _by_module(log: EventLog, position: int, module: str) -> dict[str, int]:
    members, inside = _members(log, position)
    split: Counter[str] = Counter()
    for index in members:
        split[log.allocations[index].module] += log.allocations[index].size
    if inside:
        split[module] += inside
    return dict(split.most_common())


def _timeline(log: EventLog, moments: list[tuple[int, int]], peak_at: int) -> tuple[Moment, ...]:
    """At most ``TIMELINE`` moments: the highest of each stretch, so the peak is always among them."""
    stretch = max(1, -(-len(moments) // TIMELINE))
    chosen = {
        max(moments[i : i + stretch], key=lambda m: (m[1], m[0] == peak_at))[0] for i in range(0, len(moments), stretch)
    }
    held: Counter[tuple[str, Category]] = Counter()
    for index in log.baseline:
        held[_holder(log.allocations[index])] += log.allocations[index].size
    told = set(held)  # what has to be told at the next moment
    running = categories_of(log, log.baseline)
    timeline = []
    for position, event in enumerate(log.events):
        if event.kind is not Kind.INSIDE:
            allocation = log.allocations[event.storage]
            size = allocation.size if event.kind is Kind.ALLOCATED else -allocation.size
            module, category = _holder(allocation)
            running[category] += size
            held[module, category] += size
            told.add((module, category))
        if position not in chosen:
            continue
        live, inside = dict(running), {}
        if event.kind is Kind.INSIDE:
            live[Category.WORKSPACE] += event.storage
            inside = {(event.module, Category.WORKSPACE): event.storage}
        changed = tuple((*key, held[key] + inside.get(key, 0)) for key in sorted(told | set(inside)))
        timeline.append(Moment(position, event.phase, event.operator, event.module, live, changed))
        told = set(inside)
    return tuple(timeline)


def _holder(allocation: Allocation) -> tuple[str, Category]:
    return allocation.module, allocation.category or Category.WORKSPACE


def profile_of(
    log: EventLog,
    source: Tier,
    *,
    saved: Mapping[str, int],
    outside: Mapping[str, int],
    assumptions: Iterable[str],
    extra: int = 0,
) -> MemoryProfile:
    """Replay the logged step. ``extra`` bytes of the peak that no event explains count as workspace."""
    moments = _moments(log)
    if not moments:
        raise ValueError("the step allocated nothing, so there is nothing to profile")
    position, peak = max(moments, key=lambda m: m[1])
    event = log.events[position]
    by_category = _split_at(log, position)
    by_module = _by_module(log, position, event.module)
    if extra:
        by_category[Category.WORKSPACE] += extra
        by_module["(workspace not attributed)"] = extra
    highest: dict[Phase, tuple[int, int]] = {}
    for at, live in moments:
        phase = log.events[at].phase
        if phase not in highest or live > highest[phase][1]:
            highest[phase] = (at, live)
    return MemoryProfile(
        source=source,
        peak=peak + extra,
        phase=event.phase,
        operator=event.operator,
        module=event.module,
        by_category=by_category,
        by_phase={phase: _split_at(log, at) for phase, (at, _) in highest.items()},
        by_module=by_module,
        saved_by_module=dict(saved),
        timeline=_timeline(log, moments, position),
        outside=dict(outside),
        assumptions=tuple(assumptions),
    )
