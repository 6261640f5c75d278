"""The guard: a hard memory budget on a training step, with an error that says who asked for what.

The ledger refuses the allocation before it happens and costs almost nothing while all goes well. Only when it refuses
is the step explained (see ``refusals``). A refusal stands whatever the step makes of it: one that its own ``except``
or a thread of its own swallowed ends the stretch as well, once the step is done.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workbench.core.alone import alone
from workbench.core.errors import BudgetExceeded
from workbench.core.profile import Category
from workbench.core.units import format_size
from workbench.memory import ledger, refusals
from workbench.memory.changed import Unchanged
from workbench.memory.events import EventLog
from workbench.memory.ledger import Refusal
from workbench.memory.randomness import random_states
from workbench.memory.refusals import Found
from workbench.memory.step import Step
from workbench.memory.tracker import Tracker

#: Bytes beyond the limit that a watched step may take: watching hands each number of an operator on once more, as a
#: tensor of 8 bytes for every mode that it passes. Whoever watches lets a bare step follow, held to the limit itself.
WATCHING = 64


class _Swallowed(Exception):
    """A step went on after it was refused."""


class Guard:
    """State of one guarded stretch; ``peak`` is its highest live bytes so far, everything included.

    ``held`` are the bytes by category that were there before it: the ledger sees what comes on top, not what it is.
    """

    def __init__(
        self,
        limit: int,
        step: Step,
        held: dict[Category, int],
        count: ledger.Counting | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self.limit, self.held, self.base = limit, held, sum(held.values())
        self._step, self._count, self._tracker = step, count, tracker
        self.settled = refusals.settled(step)  #: parameters with optimizer state before the present step
        self._watching: Tracker | None = None
        self._states = random_states()
        self._line: Found | None = None

    @property
    def peak(self) -> int:
        if self._count is not None:
            return self.base + self._count.peak
        return self._tracker.highest if self._tracker is not None else self.base

    def next_step(self, watched_by: Tracker | None = None) -> None:
        """Say that another step begins, and which tracker watches it; ends the stretch if the last was refused."""
        if self.refusal is not None:
            raise _Swallowed
        self._watching, self._states, self.settled = watched_by, random_states(), refusals.settled(self._step)
        if self._count is not None:
            self._count.allow(self.limit - self.base + (WATCHING if watched_by else 0))

    @property
    def refusal(self) -> Refusal | None:
        """The last allocation that was refused, counted with everything that the step holds."""
        if self._count is None:
            return None if self._tracker is None else self._tracker.over
        seen = self._count.refusal
        return None if seen is None else Refusal(seen.asked, self.base + seen.live, self.limit)

    def stopped(self, error: Exception) -> None:
        """``error`` came out of the step: keep the line that was at work, and let go of the step's tensors."""
        self._line = refusals.at_work(error.__traceback__, self._step.model)
        while error.__context__ is not None and isinstance(error.__context__, Exception):
            traceback.clear_frames(error.__traceback__)
            error = error.__context__
        traceback.clear_frames(error.__traceback__)

    def who(self, refusal: Refusal, batch: Any, log: EventLog | None) -> Found:
        """Who asked: what the prediction knows, what a tracker saw, what a second try shows, else the line."""
        seen = self._watching or self._tracker
        found = None if log is None else refusals.found_in(log, refusal)
        found = found or (None if seen is None else seen.refused)
        if found is None and batch is not None and self._count is not None:
            found = refusals.refused_again(self.limit, self._step, batch, self._states)
        return found or self._line or refusals.at_work(None, self._step.model)


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
    workspace and slows the step. A stretch of several steps says where each begins (``Guard.next_step``). Meanwhile
    no other thread predicts, measures or trains; what else it allocates is counted.
    """
    with alone():
        held = refusals.held_by_category(step, batch)
        base = sum(held.values())
        unchanged, older = Unchanged(step), refusals.broom()
        if base > limit:
            found = ("holding", "", max(held, key=lambda c: held[c])), dict[Category, int]()
            sentence = (
                f"budget of {format_size(limit)} ({limit} bytes) is passed before the step begins: "
                f"{', '.join(f'{c} {format_size(n)}' for c, n in held.items() if n)} are held already."
            )
            raise refusals.error_of(limit, Refusal(base, 0, limit), found, suggestions, sentence)
        with _limited(limit, held, step, batch) as guarded:
            try:
                yield guarded
            except BudgetExceeded:
                raise  # of a stretch inside this one, explained already
            except Exception as error:
                if guarded.refusal is None:
                    raise
                guarded.stopped(error)
            refusal = guarded.refusal
        if refusal is not None:
            note = unchanged.note()  # before the step is run once more to explain the refusal
            refusals.release(step, older)
            refusals.drop_new_state(step, guarded.settled)
            # No name for the error: with one it would hold this frame, and the frame the error.
            raise refusals.error_of(limit, refusal, guarded.who(refusal, batch, log), suggestions).noting(note)


@contextmanager
def _limited(limit: int, held: dict[Category, int], step: Step, batch: Any) -> Iterator[Guard]:
    """The ledger's limit, or the tracker's where there is no ledger."""
    if ledger.available():
        with ledger.counting(limit - sum(held.values())) as count:
            yield Guard(limit, step, held, count)
        return
    tracker = Tracker(step.model)
    tracker.limit = limit
    tracker.adopt(step, batch)
    with tracker.tracing():
        yield Guard(limit, step, held, tracker=tracker)
