"""The guard: a hard memory budget on a training step, with an error that says who asked for what.

The ledger refuses the allocation before it happens and costs almost nothing while all goes well. Only when
it refuses is the step explained: from the event log of its prediction if one is given, else by running the
failing step once more under the tracker and the same budget, with weights and optimizer state put back.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from workbench.core.errors import BudgetExceeded
from workbench.core.phase import at_its_most
from workbench.core.profile import Category
from workbench.memory import ledger
from workbench.memory.changed import Unchanged
from workbench.memory.events import EventLog, Kind, categories_of
from workbench.memory.ledger import Refusal
from workbench.memory.snapshot import Snapshot
from workbench.memory.step import Step, held_storages
from workbench.memory.tracker import OverBudget, Tracker

#: Operator, module and category of a refused allocation, and the ledger by category at that moment.
Found = tuple[tuple[str, str, Category], dict[Category, int]]
_UNKNOWN: Found = (("an operator", "", Category.WORKSPACE), {})


class Guard:
    """State of one guarded stretch; ``peak`` is its highest live bytes so far, everything included.

    ``held`` are the bytes by category that were there before it: the ledger sees what comes on top, not what it is.
    """

    def __init__(
        self, limit: int, held: dict[Category, int], count: ledger.Counting | None, tracker: Tracker | None
    ) -> None:
        self.limit, self.held, self.base = limit, held, sum(held.values())
        self._count, self._tracker = count, tracker

    @property
    def peak(self) -> int:
        if self._count is not None:
            return self.base + self._count.peak
        return self._tracker.highest if self._tracker is not None else self.base


@contextmanager
def guard(
    limit: int,
    step: Step,
    batch: Any = None,
    *,
    log: EventLog | None = None,
    suggestions: tuple[str, ...] = (),
) -> Iterator[Guard]:
    """Hold ``step`` to ``limit`` bytes of live memory: weights, gradients, state, inputs and all in between.

    Bytes of the process that do not belong to the step and were there before are not counted. Raises
    ``BudgetExceeded`` before the allocation that would pass the limit; then gradients are cleared, the graph
    is released and the next step runs normally. A step that updates inside the backward pass, or perturbs
    weights in place, may have changed some weights before it was refused; the error's note says how many.
    Without a compiler the tracker enforces instead: it raises right after the operator, does not see
    workspace and slows the step.
    """
    held = _held(step, batch)
    base = sum(held.values())
    settled, unchanged = _settled(step), Unchanged(step)
    refused: Refusal | BudgetExceeded | None = None
    broom = _broom()
    if base > limit:
        raise _error(limit, Refusal(base, 0, limit), ("holding", "", Category.WEIGHTS), {}, suggestions)
    if not ledger.available():
        tracker = Tracker(step.model)
        tracker.limit = limit
        try:
            tracker.adopt(step, batch)
            with tracker.tracing():
                yield Guard(limit, held, None, tracker)
        except OverBudget as error:
            seen = Refusal(error.asked, error.live, limit)
            refused = _error(limit, seen, *(tracker.refused or _UNKNOWN), suggestions)
            traceback.clear_frames(error.__traceback__)
    else:
        with ledger.counting(limit - base) as count:
            try:
                yield Guard(limit, held, count, None)
            except torch.OutOfMemoryError as error:
                if count.refusal is None:
                    raise
                seen = count.refusal
                refused = Refusal(seen.asked, base + seen.live, limit)
                traceback.clear_frames(error.__traceback__)
    if refused is not None:
        note = unchanged.note()  # before the step is run once more to explain the refusal
        _release(step, broom)
        _drop_new_state(step, settled)
        # No name for the error: with one it would hold this frame, and the frame the error.
        raise (
            refused if isinstance(refused, BudgetExceeded) else explain(limit, refused, step, batch, log, suggestions)
        ).noting(note)


def _held(step: Step, batch: Any) -> dict[Category, int]:
    """Bytes by category of what the step holds between steps."""
    held: dict[Category, int] = {}
    for size, category in held_storages(step, batch).values():
        held[category] = held.get(category, 0) + size
    return {category: size for category, size in held.items() if size}


def _settled(step: Step) -> set[int]:
    """Ids of the parameters that have optimizer state."""
    return {id(p) for optimizer in getattr(step, "optimizers", ()) for p in optimizer.state}


def _drop_new_state(step: Step, settled: set[int]) -> None:
    """Forget optimizer state begun in the refused step: it may be half made, and no update has used it."""
    for optimizer in getattr(step, "optimizers", ()):
        for parameter in [p for p in optimizer.state if id(p) not in settled]:
            del optimizer.state[parameter]


def _broom() -> Tensor:
    """A one-number graph older than any node of the step, with which the engine's queue can be emptied."""
    with torch.enable_grad():
        return torch.zeros((), requires_grad=True) * 1.0


def _release(step: Step, broom: Tensor) -> None:
    """Drop gradients and graph.

    After an exception autograd's queue still holds the nodes that were ready, and with them the graph. It
    serves younger nodes first and skips those of a failed pass, so an older backward pass empties it.
    """
    broom.backward()
    for parameter in step.model.parameters():
        parameter.grad = None
    gc.collect()


def explain(
    limit: int,
    refusal: Refusal,
    step: Step,
    batch: Any,
    log: EventLog | None = None,
    suggestions: tuple[str, ...] = (),
) -> BudgetExceeded:
    """The error for a refused allocation (``refusal.live`` counts everything the step holds)."""
    found = _from_log(log, refusal) if log is not None else None
    if found is not None:
        return _error(limit, refusal, *found, suggestions)
    if batch is None:
        return _error(limit, refusal, *_UNKNOWN, suggestions)
    names, split = _refused_again(limit, step, batch)
    return _error(limit, refusal, names, split, suggestions)


def _refused_again(limit: int, step: Step, batch: Any) -> Found:
    """Run the step again under tracker and budget, then put weights and state back.

    Optimizer state begun under the guard has been dropped: a first step may only make it anew, and the second
    is the one that is refused.
    """
    tracker = Tracker(step.model)
    broom, settled = _broom(), _settled(step)
    with Snapshot(step):
        base = sum(_held(step, batch).values())
        try:
            with ledger.counting(limit - base), at_its_most(), tracker.tracing():
                for _ in range(2):
                    tracker.step(step, batch)
        except torch.OutOfMemoryError as error:
            traceback.clear_frames(error.__traceback__)
        _release(step, broom)
        _drop_new_state(step, settled)
    return tracker.refused or _UNKNOWN


def _from_log(log: EventLog, refusal: Refusal) -> Found | None:
    """Operator, module and category of the predicted event that asks the same bytes at the same level."""
    members = set(log.baseline)
    live = sum(log.allocations[i].size for i in members)
    for event in log.events:
        if event.kind is Kind.FREED:
            members.discard(event.storage)
            live -= log.allocations[event.storage].size
        elif event.kind is Kind.ALLOCATED:
            allocation = log.allocations[event.storage]
            if live == refusal.live and allocation.size == refusal.asked:
                names = event.operator, event.module, allocation.category or Category.WORKSPACE
                return names, dict(categories_of(log, members))
            members.add(event.storage)
            live += allocation.size
    return None


def _error(
    limit: int,
    refusal: Refusal,
    names: tuple[str, str, Category],
    split: dict[Category, int],
    suggestions: tuple[str, ...],
) -> BudgetExceeded:
    """What the ledger saw and the tracker did not is inside the operator at work: workspace."""
    operator, module, category = names
    unseen = refusal.live - sum(split.values())
    ledger_then = {str(c): size + (unseen if c is Category.WORKSPACE else 0) for c, size in split.items()}
    return BudgetExceeded(
        operator=operator,
        module=module,
        category=str(category),
        asked=refusal.asked,
        live=refusal.live,
        limit=limit,
        ledger=ledger_then,
        suggestions=suggestions,
    )
