"""Panels that show a grid of runs and run what is missing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from widgets.awaiting import PERIOD, until
from widgets.base import Panel
from widgets.place import Placed
from widgets.run_queue import QUEUE, on_kernel_thread
from workbench.core.errors import Interrupted, PintpotError

if TYPE_CHECKING:
    from workbench.ablate import Progress
    from workbench.bench import Bench
    from workbench.records.grid import GridPoint


class RunsMissing(Panel, Placed):
    """A figure of the grid over ``axes`` as the store has it; its button runs the rest, one run after the other.

    Axes are those of :meth:`workbench.bench.Bench.ablate`; they are checked here and raise ``BadInput``. Methods in
    ``reference`` run without the budget where they do not fit it. Whatever ends a run becomes its state in the
    figure. Runs wait for those of other panels. Running a cell again stops what it began before.
    """

    def __init__(
        self,
        bench: Bench,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        reference: Iterable[str] = (),
        **more: Sequence[Any],
    ) -> None:
        self.bench, self.axes, self.reference = bench, {**(axes or {}), **more}, tuple(reference)
        self._changing = threading.RLock()
        self._cancel = threading.Event()
        self._over = threading.Event()
        self._over.set()
        self._doing, self._problem, self._shown, self._stale = "", "", 0.0, False
        super().__init__(self._figure())
        self.on_msg(self._asked)
        self.take_place(self.bench.ablate_command(self.axes, self.reference))

    def drawn(self, points: Sequence[GridPoint], **more: Any) -> Any:
        """The figure of a grid; every panel says which. ``more`` is what the figure is told of running the rest."""
        raise NotImplementedError

    def start(self) -> None:
        """Run what is missing; nothing while it is being run."""
        with self._changing:
            if not self._over.is_set():
                return
            self._over.clear()
            self._cancel = threading.Event()
            self._show("Waiting for the run before." if QUEUE.busy else "Beginning.")
            QUEUE.put(self._work)

    def cancel(self) -> None:
        """Stop; finished runs are kept, and the button goes on where it stopped."""
        with self._changing:
            self._cancel.set()
            if QUEUE.withdraw(self._work):
                self._end("")
            elif not self._over.is_set():
                self._show("Stopping.")

    def wait(self) -> Any:
        """Run what is missing and return the whole grid; an interrupt cancels.

        A cell that waits like this keeps the kernel from hearing *Stop*; in a notebook ``await`` the panel.
        """
        self.start()
        try:
            self._over.wait()
        except KeyboardInterrupt:
            self.cancel()
            self._over.wait()
        self._refresh()
        return self._figure()

    def __await__(self) -> Generator[Any, None, Any]:
        """``info = await panel``: as :meth:`wait`, but the kernel stays free to hear the panel's buttons."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        self.start()
        await until(self._over, self.cancel)
        self._refresh()
        return self._figure()

    def close(self) -> None:
        """Take the panel away; its runs are cancelled."""
        if hasattr(self, "_changing"):
            self.cancel()
        super().close()

    def finished(self) -> Any:
        """The whole grid, run first where nobody can press the button, and without the button."""
        self.wait()
        return self._of_store()

    def _figure(self) -> Any:
        """As the store has it; reads every record, so it is not made anew for every step."""
        return self._of_store(live=True, doing=self._doing, problem=self._problem)

    def _of_store(self, **more: Any) -> Any:
        points = self.bench.grid(self.axes, reference=self.reference)
        return self.drawn(points, command=self.bench.ablate_command(self.axes, self.reference), **more)

    def _work(self) -> None:
        """All missing runs, in the queue's thread; nothing escapes it."""
        problem = ""
        try:
            self.bench.ablate(self.axes, observe=self._observe, cancel=self._cancel, reference=self.reference)
        except Interrupted:
            pass  # the grid shows what is still missing, and the button says so
        except PintpotError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        self._end(problem)

    def _observe(self, progress: Progress) -> None:
        cell = progress.cell
        text = f"{progress.done} of {progress.total} runs done; {cell.case.method_name}, seed {cell.seed}"
        if progress.step is not None:
            text += f", step {progress.step.step + 1} of {progress.planned}"
        first = progress.step is not None and progress.step.step == 0
        if first or progress.record is not None or time.monotonic() - self._shown > PERIOD:
            self._show(text, anew=progress.record is not None)

    def _end(self, problem: str) -> None:
        with self._changing:
            self._problem = problem
            self._over.set()
            self._show("")

    def _show(self, doing: str, *, anew: bool = True) -> None:
        self._doing, self._shown = doing, time.monotonic()
        self._stale = self._stale or anew
        on_kernel_thread(self._refresh)

    def _refresh(self) -> None:
        with self._changing:
            self.update(self._figure() if self._stale else replace(cast(Any, self.figure), doing=self._doing))
            self._stale = False

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        {"start": self.start, "cancel": self.cancel}.get(content.get("do"), lambda: None)()
