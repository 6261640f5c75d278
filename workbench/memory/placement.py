"""Where in one block of memory each tensor of a repeated step lies, so that the block is as small as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.memory.packing import packed

ALIGNMENT = 64  #: bytes, that of torch's own CPU allocator
PATIENCE = 6  #: rounds without a smaller arena before an order is given up
ENOUGH = 1.002  #: an arena at most this many times the largest live set is not improved further
LARGE = 20  #: tensors of at least this part of the largest live set are large
_Integers = np.ndarray


@dataclass(frozen=True)
class Plan:
    """One step's allocations and frees in order, and a place for every allocation that the step also frees.

    ``events`` holds ``i`` where allocation ``i`` happens and ``~i`` where it is freed; ``offsets`` are bytes
    from the beginning of the arena, -1 for what outlives the step. ``size`` is the arena's, ``max_live`` the
    largest sum of placed tensors alive at once; bytes.
    """

    events: tuple[int, ...]
    sizes: tuple[int, ...]
    offsets: tuple[int, ...]
    size: int
    max_live: int
    order: str

    @property
    def escaping(self) -> int:
        """Allocations that outlive the step and therefore stay with malloc."""
        return sum(offset < 0 for offset in self.offsets)


def plan_of(recorded: Sequence[tuple[int, int]]) -> Plan:
    """The best of a few greedy placements for a recorded step: ``(signed size, address)`` in order.

    Frees of memory that is older than the step are no part of the plan.
    """
    events: list[int] = []
    sizes: list[int] = []
    starts: list[int] = []
    ends: dict[int, int] = {}
    at: dict[int, int] = {}
    for size, address in recorded:
        if size > 0:
            at[address] = len(sizes)
            starts.append(len(events))
            events.append(len(sizes))
            sizes.append(size)
        elif address in at:
            index = at.pop(address)
            ends[index] = len(events)
            events.append(~index)
    chosen = np.array(sorted(ends), dtype=np.int64)
    offsets = np.full(len(sizes), -1, dtype=np.int64)
    own, begin = np.array(sizes, dtype=np.int64)[chosen], np.array(starts, dtype=np.int64)[chosen]
    end = np.array([ends[i] for i in chosen.tolist()], dtype=np.int64)
    placed, order = place(own, begin, end)
    offsets[chosen] = placed
    size = int((placed + own).max(initial=0))
    return Plan(
        tuple(events), tuple(sizes), tuple(offsets.tolist()), _aligned(size), largest_sum(own, begin, end), order
    )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def largest_sum(sizes: _Integers, starts: _Integers, ends: _Integers) -> int:
    """The most bytes alive at once, for lifetimes ``[start, end)``."""
    changes = np.zeros(int(ends.max(initial=0)) + 1, dtype=np.int64)
    np.add.at(changes, starts, sizes)
    np.subtract.at(changes, ends, sizes)
    return int(np.cumsum(changes).max(initial=0))


def place(sizes: _Integers, starts: _Integers, ends: _Integers) -> tuple[_Integers, str]:
    """Offsets (bytes, aligned) of tensors with lifetimes ``[start, end)``, and the order that served best.

    Greedy: tensors in some order, each at the lowest free place among those alive with it. Of the orders by
    size, duration and size times duration the one with the smallest arena wins; what ends up highest is then
    placed first, again and again while that helps. The search ends at an arena that no other can beat. Where the
    best is more than ``ENOUGH`` above that, the large tensors are packed anew, and the small ones around them.
    """
    rounded = -(-sizes // ALIGNMENT) * ALIGNMENT
    bound = largest_sum(rounded, starts, ends)
    duration = ends - starts
    orders: dict[str, Callable[[], _Integers]] = {
        "size": lambda: np.lexsort((starts, -rounded)),
        "duration": lambda: np.lexsort((-rounded, -duration)),
        "size x duration": lambda: np.argsort(-rounded * duration, kind="stable"),
    }
    best, name, smallest = np.zeros_like(sizes), "none", -1
    for order, ranked in orders.items():
        offsets = _raised(rounded, starts, ends, ranked(), bound)
        size = int((offsets + rounded).max(initial=0))
        if smallest < 0 or size < smallest:
            best, name, smallest = offsets, order, size
        if smallest == bound:
            break
    for cap in _caps(rounded, starts, ends, bound):
        if smallest <= ENOUGH * bound:
            break
        offsets = _around_large(rounded, starts, ends, bound // LARGE, cap)
        if offsets is not None and (size := int((offsets + rounded).max())) < smallest:
            best, name, smallest = offsets, "packed", size
    return best, name


def _caps(sizes: _Integers, starts: _Integers, ends: _Integers, bound: int) -> tuple[int, int]:
    """How high the large tensors may lie: no higher than they must, so that small ones share one gap, or higher."""
    large = sizes >= bound // LARGE
    return largest_sum(sizes[large], starts[large], ends[large]), bound


def _around_large(sizes: _Integers, starts: _Integers, ends: _Integers, least: int, cap: int) -> _Integers | None:
    """Tensors of at least ``least`` bytes where :func:`packing.packed` puts them below ``cap``, the small ones greedily
    in what is left."""
    large = np.flatnonzero(sizes >= least)
    places = packed(*(values[large].tolist() for values in (sizes, starts, ends)), cap)
    if places is None:
        return None
    small = np.setdiff1d(np.lexsort((starts, -sizes)), large, assume_unique=True)
    fixed = dict(zip(large.tolist(), places))
    return _greedy(sizes, starts, ends, np.concatenate((large, small)), fixed)


def _raised(sizes: _Integers, starts: _Integers, ends: _Integers, order: _Integers, bound: int) -> _Integers:
    """Greedy placement, repeated with the topmost tensors first until ``PATIENCE`` rounds bring nothing."""
    best, smallest, idle = _greedy(sizes, starts, ends, order), -1, 0
    offsets = best
    while idle < PATIENCE:
        tops = offsets + sizes
        size = int(tops.max(initial=0))
        if smallest < 0 or size < smallest:
            best, smallest, idle = offsets, size, 0
        else:
            idle += 1
        if smallest == bound:
            break
        highest = np.flatnonzero(tops == size)
        order = np.concatenate((highest, order[~np.isin(order, highest)]))
        offsets = _greedy(sizes, starts, ends, order)
    return best


def _greedy(
    sizes: _Integers, starts: _Integers, ends: _Integers, order: _Integers, fixed: Mapping[int, int] | None = None
) -> _Integers:
    """Each tensor in ``order`` at its ``fixed`` place, else at the lowest free one."""
    fixed = fixed or {}
    count = len(sizes)
    offsets = np.zeros(count, dtype=np.int64)
    begin, end, low, high = (np.empty(count, dtype=np.int64) for _ in range(4))
    for done, index in enumerate(order.tolist()):
        together = (begin[:done] < ends[index]) & (end[:done] > starts[index])
        floors, tops = low[:done][together], high[:done][together]
        sequence = np.argsort(floors)
        gap_begins = np.concatenate(([0], np.maximum.accumulate(tops[sequence])))
        fits = floors[sequence] - gap_begins[:-1] >= sizes[index]
        first = int(np.argmax(fits)) if fits.any() else -1
        offset = fixed.get(index, int(gap_begins[first]))
        offsets[index] = offset
        begin[done], end[done], low[done], high[done] = starts[index], ends[index], offset, offset + sizes[index]
    return offsets
