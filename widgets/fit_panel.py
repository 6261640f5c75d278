"""The fit explorer with a kernel behind it: task and model are chosen in the panel and answered by predictions."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import traitlets

from widgets.awaiting import PERIOD
from widgets.panels import FitPanel
from widgets.run_queue import QUEUE, Job, on_kernel_thread
from workbench import figures
from workbench.core.errors import PintpotError
from workbench.figures.fit import FitInfo

if TYPE_CHECKING:
    from workbench.bench import Bench

PATIENCE = 5.0  #: seconds that the ways out of a budget may be looked for, for all methods together


class _Superseded(Exception):
    """Something else was chosen meanwhile."""


class FitExplorer(FitPanel):
    """Every method of a bench against a budget. Another task or model is predicted anew, a device is not.

    ``doing`` says how far that is and ``problem`` why it could not be; what was shown before stays meanwhile. A later
    choice ends an earlier one after the prediction under way. ``bench`` is the one whose table is shown. Predictions
    wait for runs of other panels, whose memory is being counted. Names in ``methods`` are checked here.
    """

    doing = traitlets.Unicode().tag(sync=True)
    problem = traitlets.Unicode().tag(sync=True)

    def __init__(self, bench: Bench, methods: Sequence[str] = ()) -> None:
        self.bench, self.methods = bench, tuple(methods)
        self._changing = threading.RLock()
        self._job: Job | None = None
        self._over = threading.Event()
        self._over.set()
        super().__init__(self._figure(bench))
        self.on_msg(self._heard)

    def choose(self, task: str = "", model: str = "", **set_: Any) -> None:
        """Ask for another task, with its default model, or another model; a name that is unknown is said in
        ``problem``.

        ``batch``, ``length``, ``budget`` and ``device`` are what the reader has set meanwhile; absent, they are the
        bench's. A length is left to the task where the new one cannot have it.
        """
        names = {"task": task or self.bench.task, "model": model if model or task else self.bench.model}
        with self._changing:
            if self._job is not None:
                QUEUE.withdraw(self._job)

            def job() -> None:
                self._work(job, {**names, **set_})

            self._job = job
            self._over.clear()
            self._say(doing=f"Waiting to predict {names['model'] or names['task']}.")
            QUEUE.put(job)

    def wait(self, seconds: float | None = None) -> FitInfo:
        """The figure, once the last choice is answered."""
        self._over.wait(seconds)
        figure = self.figure
        assert isinstance(figure, FitInfo)
        return figure

    def finished(self) -> FitInfo:
        """The table for a page without a kernel: its budget, device, batch and length can still be moved."""
        return replace(self.wait(), choices={})

    def _figure(self, bench: Bench, job: Job | None = None) -> FitInfo:
        shown = 0.0

        def told(method: str) -> None:
            nonlocal shown
            if job is not None and self._job is not job:
                raise _Superseded
            if job is not None and time.monotonic() - shown > PERIOD:
                shown = time.monotonic()
                self._say(doing=f"Predicting {method} on {bench.model}.")

        from workbench.request import choices

        found = bench.fit(self.methods, patience=PATIENCE, progress=told)
        return figures.fit_table(found.table, bench.budget, found, choices())

    def _work(self, job: Job, wanted: dict[str, Any]) -> None:
        """Answer one choice, in the queue's thread; nothing escapes it."""
        figure, problem, bench = None, "", self.bench
        try:
            bench = _another(bench, **wanted)
            figure = self._figure(bench, job)
        except _Superseded:
            return
        except PintpotError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        with self._changing:
            if self._job is not job:
                return
            self._job = None
            if figure is not None:
                self.bench, self.figure = bench, figure
            on_kernel_thread(lambda: self._answer(figure, problem))
            self._over.set()  # after the panel has the answer, where no kernel's loop has to bring it

    def _answer(self, figure: FitInfo | None, problem: str) -> None:
        with self._changing, self.hold_sync():
            if figure is not None:
                self.update(figure)
            self.doing, self.problem = "" if self._job is None else self.doing, problem

    def _say(self, doing: str) -> None:
        def say() -> None:
            if self._job is not None:
                self.doing, self.problem = doing, ""

        on_kernel_thread(say)

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        if content.get("do") == "choose":
            set_ = {name: content[name] for name in ("batch", "length", "budget", "device") if content.get(name)}
            assert isinstance(self.figure, FitInfo)
            if self.figure.shape and set_.get("length") == self.figure.shape[1]:
                del set_["length"]  # not the reader's wish, but what the bench or the task says
            self.choose(str(content.get("task", "")), str(content.get("model", "")), **set_)


def _another(bench: Bench, task: str, model: str, **set_: Any) -> Bench:
    """The bench with another task or model: what stands in the panel stays, and within one task the schedule too."""
    from workbench.bench import open as opened

    given = {"device": bench.device.name, "budget": bench.budget, "batch": bench.batch, **set_}
    length = given.pop("length", bench.length)
    new = opened(task, model, profile=bench.profile.name, **given)
    case, same = new.case("full"), new.task == bench.task
    limits = case.task.lengths(case.spec)
    if length is not None and not (limits[0] <= length <= limits[1] if limits else same):
        length = None
    sizes = replace(bench.sizes if same else new.sizes, length=length)
    new = replace(new, length=length, sizes=sizes, store=bench.store)
    return replace(new, schedule=bench.schedule, held_out=bench.held_out) if same else new


def explore(bench: Bench, methods: Sequence[str] = ()) -> FitExplorer:
    """Show the fit explorer of a bench, with task, model and device to choose, and return it."""
    from widgets.display import show

    panel = FitExplorer(bench, methods)
    show(panel)
    return panel
