"""The planned arena: a repeated training step served from one block of memory, planned from a recorded step.

Unmodified eager code runs. Every allocation and free of the stepping thread is compared with the plan, size and
order; at the first that differs the rest of the step goes to malloc, so a wrong plan costs speed, never
correctness. What outlives the step (losses, new optimizer state) is left with malloc from the beginning. Pages of
libraries that only starting touched are given back when the plan is there, so that the process is as small as its step.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workbench.core.collection import uncollected
from workbench.core.errors import ResourceMissing
from workbench.memory import ledger, library_pages
from workbench.memory.placement import Plan, plan_of

WARM = 1  #: steps before the recorded one: the first makes optimizer state and fits no later step


class Arena:
    """Runs steps; the first ``WARM`` plainly, the next recorded, all others from the planned block."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step = step
        self._library = ledger.loaded()
        self._taken = 0
        self._closed: tuple[int, int, int, int] | None = None
        self._replays = 0
        self.plan: Plan | None = None

    @property
    def size(self) -> int:
        """Bytes of the arena; 0 before the plan is made."""
        return self.plan.size if self.plan else 0

    @property
    def max_live(self) -> int:
        """Most bytes of planned tensors alive at once: no arena can be smaller."""
        return self.plan.max_live if self.plan else 0

    @property
    def served(self) -> int:
        """Allocations that got their planned place."""
        return self._counts()[0]

    @property
    def misses(self) -> int:
        """Allocations that malloc served because their step had left the plan."""
        return self._counts()[1]

    @property
    def left(self) -> int:
        """Steps that left the plan."""
        return self._counts()[2]

    def use(self) -> dict[str, int]:
        """How it went, as a run's record keeps it: bytes of ``size`` and ``max_live``, and counts.

        ``planned_steps`` were begun by the plan, ``left`` of them left it; ``served`` and ``misses`` are allocations.
        """
        sizes = {"size": self.size, "max_live": self.max_live}
        return sizes | {
            "planned_steps": self._replays, "left": self.left, "served": self.served, "misses": self.misses
        }  # fmt: skip

    def _counts(self) -> tuple[int, int, int, int]:
        if self._closed is not None:
            return self._closed
        out = (ctypes.c_int64 * 4)()
        if self.plan is not None:
            self._library.ledger_arena_counts(out)
        return out[0], out[1], out[2], out[3]

    def step(self, batch: Any, **settings: Any) -> Any:
        """Perform one training step and return what it returns. Garbage is collected between steps only."""
        if self.plan is not None:
            return self._replayed(batch, settings)
        self._taken += 1
        with uncollected():
            if self._taken <= WARM:
                return self._step(batch, **settings)
            gc.collect()
            with ledger.recording(this_thread=True) as recorded:
                result = self._step(batch, **settings)
        gc.collect(1)
        self._open(plan_of(recorded))
        library_pages.give_back()
        return result

    def _replayed(self, batch: Any, settings: dict[str, Any]) -> Any:
        self._replays += 1
        with uncollected():
            self._library.ledger_arena_begin()
            try:
                return self._step(batch, **settings)
            finally:
                self._library.ledger_arena_end()
                gc.collect(1)

    def _open(self, plan: Plan) -> None:
        count, events = len(plan.sizes), len(plan.events)
        sizes, offsets = (ctypes.c_int64 * count)(*plan.sizes), (ctypes.c_int64 * count)(*plan.offsets)
        sequence = (ctypes.c_int32 * events)(*plan.events)
        failed = self._library.ledger_arena_open(plan.size, count, sizes, offsets, events, sequence)
        if failed:
            raise ResourceMissing(f"no arena: the system gives no block of {plan.size} bytes")
        self.plan = plan


_open: list[Arena] = []


@contextmanager
def planned(step: Callable[..., Any], batch: Any = None) -> Iterator[Arena]:
    """An arena for ``step``; ``with planned(step) as arena: arena.step(batch)`` for every batch.

    The first two steps make the plan. With ``batch`` they are taken at once, on it; they train like any other.
    One arena at a time: raises ``ResourceMissing`` inside another, or without the ledger. Budgets of
    ``ledger.counting`` hold as before; they count tensors, so the unused rest of the arena is not in them.
    """
    if _open:
        raise ResourceMissing("no arena: another one is in use")
    arena = Arena(step)
    _open.append(arena)
    try:
        if batch is not None:
            for _ in range(WARM + 1):
                arena.step(batch)
        yield arena
    finally:
        _open.clear()
        arena._closed = arena._counts()
        arena._library.ledger_arena_close()
