"""How fast this host runs at the moment: a fixed piece of work, timed beside everything else that is timed.

Other jobs share caches, memory and clock frequency, so the same operator takes up to a third longer from one
minute to the next. A timing divided by the pace of its moment keeps; times the pace of another moment it holds there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

_WIDE = 6 << 20  #: elements of the streamed tensors, together larger than the last cache of most processors


def step_clock() -> Callable[[], float]:
    """The clock steps are timed by: on one thread its own time, so that waiting for other jobs does not enter."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def pace(repeats: int = 5) -> float:
    """Median seconds of the reference work now: matrix products in cache, a pass through memory, small calls.

    The three take about equal shares, as a training step mixes them. Costs some 10 ms a repeat.
    """
    a, b = torch.full((128, 384), 0.5), torch.full((384, 1536), 0.5)
    source, target = torch.full((_WIDE,), 0.5), torch.empty(_WIDE)
    small = torch.full((64,), 0.5)

    def work() -> None:
        for _ in range(2):
            a @ b
        torch.add(source, 1.0, out=target)
        for _ in range(700):
            small.add_(0.0)

    clock = step_clock()
    taken = []
    with torch.no_grad():
        work()
        for _ in range(repeats):
            before = clock()
            work()
            taken.append(clock() - before)
    return statistics.median(taken)
