"""Measure the memory of a training step: the ledger for the truth, the tracker for what the bytes are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from workbench.core.alone import alone
from workbench.core.collection import uncollected
from workbench.core.phase import at_its_most
from workbench.core.profile import MemoryProfile, Tier
from workbench.memory import ledger
from workbench.memory.events import EventLog, profile_of
from workbench.memory.outside import LEAST, PYTHON, outside, python_memory
from workbench.memory.runner import run_plainly
from workbench.memory.step import Step, storages_of, tensors_in
from workbench.memory.tracker import Tracker

#: Bytes by which a step may leave more behind than it found before that is said: logs of single numbers are less.
GROWTH = 1 << 12


class MeasuredRunner:
    """Executes an operator under the ledger and reads what it needed beyond its new outputs."""

    def __init__(self) -> None:
        self._window = ledger.Window()

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
        before = {s._cdata for t in tensors_in((args, kwargs)) for s in storages_of(t)}
        self._window.open()
        result = func(*args, **kwargs)
        rise = self._window.rise()
        return result, max(0, rise - fresh_bytes(result, before))


def fresh_bytes(result: Any, before: set[int]) -> int:
    """Bytes of storages in ``result`` that are not among the storage addresses ``before``."""
    fresh = {s._cdata: s.nbytes() for t in tensors_in(result) for s in storages_of(t)}
    return sum(size for key, size in fresh.items() if key not in before)


@alone()
def measure(
    step: Step,
    batch: Any,
    *,
    warm: int = 1,
    budget: int | None = None,
    log: EventLog | None = None,
    others: bool = False,
) -> MemoryProfile:
    """Memory of the step after ``warm`` steps (so that optimizer state exists); performs ``warm + 2`` steps.

    One runs bare under the ledger: its peak is the truth. The next runs under the tracker for category, module and
    time. Bytes of the peak that the tracker cannot place are workspace. Where the tracked step rose higher, a further
    bare one tells whether steps differ; the highest peak then counts, and ``remarks`` say so. With ``others`` a last
    one shows what numpy and Python hold beside torch (``outside``).
    What begins at a later step is not seen here: a run's notes say when its steps grow.
    ``budget`` (bytes, with weights, state and inputs) is enforced during all of them; then ``BudgetExceeded`` is
    raised, explained from the ``log`` of the step's prediction where one is given.
    """
    if budget is not None:
        from workbench.memory.guard import guard

        gc.collect()  # tensors in garbage are not the step's: freed while it is counted they would hide bytes that are
        with guard(budget, step, batch, log=log) as guarded:
            return _measured(step, batch, warm, guarded.next_step, others)
    return _measured(step, batch, warm, lambda _: None, others)


def _measured(
    step: Step, batch: Any, warm: int, begins: Callable[[Tracker | None], None], others: bool
) -> MemoryProfile:
    """See :func:`measure`; ``begins`` is called before each step with the tracker that watches it."""
    exact = ledger.available()
    tracker = Tracker(step.model, MeasuredRunner() if exact else run_plainly)
    peaks, grown = list[int](), list[int]()
    with uncollected(), at_its_most():
        for _ in range(max(warm, 1)):
            begins(tracker)
            with tracker.tracing():
                tracker.step(step, batch)
        if exact:
            begins(None)
            peaks.append(_bare_peak(tracker, step, batch, grown))
        begins(tracker)
        with tracker.tracing():
            tracker.step(step, batch)
        traced = _profile(tracker, step)
        if exact and traced.peak > peaks[0]:
            begins(None)
            peaks.append(_bare_peak(tracker, step, batch, grown))
        found = _joined(tracker, step, traced, peaks, grown)
        if not others:
            return found
        begins(None)
        beside = python_memory(step, batch)
    beside -= sum(tracker.foreign.told().values())  # arrays that became tensors have a line already
    return replace(found, outside={**found.outside, PYTHON: beside}) if beside >= LEAST else found


def _profile(tracker: Tracker, step: Step, source: Tier = Tier.TRACKED, extra: int = 0) -> MemoryProfile:
    outer = outside(step.model) | tracker.foreign.told()
    return profile_of(tracker.log, source, saved=tracker.saved, outside=outer, assumptions=(), extra=extra)


def _bare_peak(tracker: Tracker, step: Step, batch: Any, grown: list[int]) -> int:
    """Highest live bytes of one undisturbed step after a tracked one, which knows what is held before it.

    ``grown`` is told by how many bytes more are live after the step than before it.
    """
    held = tracker.log.live_bytes
    with ledger.counting() as count:
        result = step(batch)
        del result
        peak = count.peak
        gc.collect(1)
        grown.append(count.live)
    return held + peak


def growing(kept: int) -> str:
    """What is said of a step that leaves more behind than it found."""
    return f"the step keeps {kept:,} bytes more than it found, so later steps may rise higher"


def _joined(tracker: Tracker, step: Step, traced: MemoryProfile, peaks: list[int], grown: list[int]) -> MemoryProfile:
    """The tracked step, with the bytes of the highest bare one."""
    threads = f"{torch.get_num_threads()} threads"
    if not peaks:
        return replace(traced, assumptions=(threads, f"workspace not measured: {ledger.reason()}"))
    assumptions, remarks = [threads], []
    if max(peaks) > peaks[0]:
        remarks.append(
            f"steps differ: a later one rose {max(peaks) - peaks[0]:,} bytes above the one measured first, and the "
            "next may rise higher still"
        )
    elif grown[-1] >= GROWTH:
        remarks.append(growing(grown[-1]))
    elif len(peaks) > 1:
        assumptions.append(f"the tracked step rose {traced.peak - peaks[0]} bytes above the bare one")
    whole = _profile(tracker, step, Tier.MEASURED, max(peaks) - traced.peak)
    return replace(whole, assumptions=tuple(assumptions), remarks=tuple(remarks))
