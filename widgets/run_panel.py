"""A panel that trains: the run in a thread of its own, its state, loss and memory as they come."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widgets.awaiting import PERIOD, until
from widgets.panels import RunView
from widgets.pins import PINS
from widgets.place import Placed
from widgets.run_queue import QUEUE, Job, on_kernel_thread
from workbench import figures
from workbench.core.errors import Interrupted, PintpotError
from workbench.figures.run import RunInfo, pins
from workbench.records.schema import RunRecord, State, StepRecord
from workbench.records.store import RunStore

if TYPE_CHECKING:
    from workbench.ablate import Progress
    from workbench.bench import Bench


class RunPanel(RunView, Placed):
    """Trains one method of a bench and shows it; how it ends is a state with its sentence, never a traceback.

    ``record`` is what :meth:`workbench.bench.Bench.run` returned, or the kept part of a cancelled run; a run that
    could not begin leaves one without an id. Runs of several panels wait for one another. Running a cell again
    cancels the run that it began before. Predictions and measurements of other cells come between its steps; the
    guard counts the whole process, so tensors that a cell makes itself meanwhile count too. Names and settings are
    checked here: raises ``BadInput``.
    """

    def __init__(
        self,
        bench: Bench,
        method: str,
        seed: int = 0,
        *,
        accumulate: int = 1,
        arena: bool = False,
        checkpoint_every: int = 0,
        cosines: int = 0,
        **settings: Any,
    ) -> None:
        case = bench.case(method, **settings)
        self.bench, self.method, self.seed = bench, method, seed
        self.record: RunRecord | None = None
        self._options: dict[str, Any] = {
            "accumulate": accumulate, "arena": arena, "checkpoint_every": checkpoint_every, "cosines": cosines,
            **settings,
        }  # fmt: skip
        self._changing = threading.RLock()
        self._over = threading.Event()
        self._cancel = threading.Event()
        self._job: Job | None = None
        self._shown, self._sending = 0.0, False
        self._words = {
            "command": bench.run_command(method, seed, **self._options),
            "python": bench.run_python(method, seed, **self._options),
        }
        self._blank = RunRecord(
            "", bench.task, bench.model, method, seed, State.RUNNING, case.config.model_dump(),
            device=bench.device.name, budget=bench.budget, batch=bench.batch, accumulate=accumulate,
            length=bench.length, profile=bench.profile.name,
        )  # fmt: skip
        self._begin_anew()
        super().__init__(self._figure("ready"))
        self.on_msg(self._asked)
        PINS.watch(self._repinned)
        self.take_place(self._words)

    def start(self) -> None:
        """Begin, or wait until the run before it is over; nothing while it is under way.

        A run that is done is trained once more to be watched; its result in the store stands.
        """
        with self._changing:
            if self._job is not None:
                return
            before = self.record
            self._begin_anew()
            self._stored = before if before is not None and before.state is State.DONE else None
            self._job = self._work
            self._show("queued")
            QUEUE.put(self._job)

    def cancel(self) -> None:
        """Stop and keep the steps done; the panel says so at once."""
        with self._changing:
            if self._job is None or self.figure.over:
                return
            self._cancel.set()
            if QUEUE.withdraw(self._job):
                self._end(replace(self._blank, state=State.CANCELLED, reason="cancelled before it began"))
            else:
                self._show("cancelling")

    def pin(self) -> None:
        """Keep this run's curves in every run panel, to compare; a run that is under way or took no step has none."""
        if self.record is not None and self.record.steps and self.figure.over:
            PINS.pin(self.record)

    def unpin(self, run: str = "") -> None:
        """Let this run go, or the pinned run with the given id."""
        PINS.unpin(run or (self.record.id if self.record is not None else ""))

    def wait(self) -> RunRecord | None:
        """The record, once the run is over; begins one that has not begun. An interrupt cancels, a second leaves.

        A cell that waits like this keeps the kernel from hearing *Cancel*; in a notebook ``await`` the panel.
        """
        if self.record is None:
            self.start()
        try:
            self._watch()
        except KeyboardInterrupt:
            self.cancel()
            self._watch()
        return self.record

    def __await__(self) -> Generator[Any, None, RunRecord | None]:
        """``record = await panel``: as :meth:`wait`, but the kernel stays free to hear the panel's buttons."""
        return self._awaited().__await__()

    async def _awaited(self) -> RunRecord | None:
        if self.record is None:
            self.start()
        await until(self._over, self.cancel)
        self._refresh()
        return self.record

    def finished(self) -> RunInfo:
        """The figure of the run at its end, without buttons that need a kernel."""
        self.wait()
        return replace(self.figure, live=False)

    def close(self) -> None:
        """Take the panel away; its run is cancelled."""
        if hasattr(self, "_changing"):
            self.cancel()
        super().close()

    def _watch(self) -> None:
        """Wait on the kernel's own thread, where its event loop cannot update the front end meanwhile."""
        while not self._over.wait(PERIOD):
            self._refresh()
        self._refresh()

    def _begin_anew(self) -> None:
        self._over.clear()
        self._cancel = threading.Event()
        self._partial = self._blank
        self._steps: list[StepRecord] = []
        self._kept: Progress | None = None
        self._stored: RunRecord | None = None
        self.record = None

    def _work(self) -> None:
        """The whole run, in the queue's thread. Nothing is raised: whatever happens becomes a state."""
        self._show("preparing")
        note = ""
        try:
            with self._bench() as bench:
                record = bench.run(self.method, self.seed, observe=self._observe, cancel=self._cancel, **self._options)
            if self._kept is not None and self._kept.stored:
                note = "Taken from the store: this run had been done before."
            if self._stored is not None:
                same = [s.loss for s in record.steps] == [s.loss for s in self._stored.steps]
                note = f"Trained again, to {'the same losses as' if same else 'other losses than'} the stored run."
                record = replace(record, id=self._stored.id)
            note = " ".join([note, *(f"{sentence}." for sentence in record.notes)]).strip()
        except Interrupted as error:
            kept = self._kept.record if self._kept else None
            record = kept or replace(self._blank, state=State.CANCELLED, reason=str(error))
            if self._options["checkpoint_every"] and record.steps:
                note = f"Its state after step {len(record.steps)} is kept: start it again to go on from there."
        except PintpotError as error:
            state = State.FAILED if self._steps else State.REFUSED
            record = replace(self._partial, steps=tuple(self._steps), state=state, reason=str(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            record = replace(self._partial, steps=tuple(self._steps), state=State.FAILED, reason=reason)
        self._end(record, note)

    @contextmanager
    def _bench(self) -> Iterator[Bench]:
        """The bench, with a store of a moment's life where the run in its own store is to stand."""
        if self._stored is None:
            yield self.bench
            return
        with tempfile.TemporaryDirectory() as folder:
            yield replace(self.bench, store=RunStore(Path(folder)))

    def _observe(self, progress: Progress) -> None:
        if progress.step is None:
            self._kept = progress
            return
        self._steps.append(progress.step)
        self._partial = replace(self._blank, planned_steps=progress.planned, measured=progress.measured)
        if len(self._steps) == 1 or time.monotonic() - self._shown >= PERIOD:
            self._show("cancelling" if self._cancel.is_set() else "running")

    def _end(self, record: RunRecord, note: str = "") -> None:
        with self._changing:
            self.record, self._job = record, None
            self._over.set()  # before anybody is told, who might start it again
            self._set(figures.run(record, note=note, live=True, pinned=PINS.records(), **self._words))

    def _show(self, stage: str) -> None:
        with self._changing:
            # A step may end between the request and its answer; what was asked for last is shown.
            stage = "cancelling" if self._cancel.is_set() else stage
            self._set(self._figure(stage))

    def _figure(self, stage: str) -> RunInfo:
        record = replace(self._partial, steps=tuple(self._steps))
        return figures.run(record, stage=stage, live=True, pinned=PINS.records(), **self._words)

    def _repinned(self) -> None:
        """Other runs are pinned than before; nothing else of the figure changes."""
        with self._changing:
            record = self.record or replace(self._partial, steps=tuple(self._steps))
            self._set(replace(self.figure, pins=pins(record, PINS.records()), is_pinned=record in PINS))

    def _set(self, figure: RunInfo) -> None:
        self.figure, self._shown = figure, time.monotonic()
        if not self._sending:  # while a cell keeps the kernel busy, one waiting update is enough
            self._sending = True
            on_kernel_thread(self._refresh)

    def _refresh(self) -> None:
        with self._changing:
            self._sending = False
            self.info = self.figure.data()

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        match content.get("do"):
            case "start":
                self.start()
            case "cancel":
                self.cancel()
            case "pin":
                self.pin()
            case "unpin":
                self.unpin(str(content.get("run", "")))


def run(bench: Bench, method: str, seed: int = 0, **options: Any) -> RunPanel:
    """Train a method and watch it: shows a panel that has begun and returns it. For a report, runs to the end first.

    ``options`` are those of :meth:`workbench.bench.Bench.run` and settings of the method.
    """
    from widgets.display import show

    panel = RunPanel(bench, method, seed, **options)
    panel.start()
    show(panel)
    return panel
