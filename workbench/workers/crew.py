"""The process that starts workers, replaces those that die, and says how far the sweep is. It may be killed too.

The store alone says what is done. A cell that is neither done nor waiting nor under way is put back, so that no moment
of a kill, between two words of two databases, loses one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from workbench.ablate import Cell, Progress
from workbench.core.errors import BadInput, Interrupted, PintpotError
from workbench.environment import environment, new_id, now
from workbench.methods.base import methods
from workbench.records.schema import RunRecord, State
from workbench.records.store import RunStore
from workbench.workers.queue import Lease, Queue
from workbench.workers.worker import Orders, work

TICK = 0.1  #: seconds between two looks at the workers
LOOK = 1.0  #: seconds between two looks at the store and the queue, where other machines' results show
_STILLBORN = 3  #: workers in a row that may die before they are ready

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["workbench.workers.worker"])


def sweep_with(
    workers: int,
    cells: Sequence[Cell],
    *,
    store: RunStore | None = None,
    lease: Lease | None = None,
    observe: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> list[RunRecord]:
    """One record per cell, from the store or run by ``workers`` processes here and by those of anyone who sweeps the
    same cells in the same store. Raises ``Interrupted`` when cancelled; what was finished is kept."""
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise BadInput("workers", workers, "a whole number of at least 1")
    crew = _Crew(workers, cells, store or RunStore(), lease or Lease(), observe, cancel or threading.Event())
    return crew.sweep()


class _Crew:
    def __init__(
        self, workers: int, cells: Sequence[Cell], store: RunStore, lease: Lease,
        observe: Callable[[Progress], None] | None, cancel: threading.Event,
    ) -> None:  # fmt: skip
        self._cells = {cell.key(): cell for cell in cells}
        self._order = [cell.key() for cell in cells]
        self._store, self._observe, self._cancel = store, observe, cancel
        threads = max(1, torch.get_num_threads() // workers)
        files = tuple(dict.fromkeys(methods.files.values()))
        self._orders = Orders(self._cells, store, store.queue, lease, threads, files)
        self._workers = workers
        self._hands: list[tuple[BaseProcess, Connection]] = []
        self._over: dict[str, bool] = {}
        self._stillborn = 0.0

    def sweep(self) -> list[RunRecord]:
        done = self._store.finished_keys() & self._cells.keys()
        for key in done:
            self._count(key, stored=True)
        if len(done) < len(self._cells):
            self._orders = replace(self._orders, searching=self._searching(done))
            self._queue = Queue(self._orders.queue, self._cells, self._orders.lease)
            self._put_back()
            try:
                self._watch()
            finally:
                self._dismiss()
                self._queue.close(self._store.finished_keys() & self._cells.keys())
        elif queue := Queue.of_before(self._orders.queue, self._cells, self._orders.lease):
            queue.close(done)
        records = [self._store.of_key(key) for key in self._order]
        return [record for record in records if record is not None]

    def _searching(self, done: Set[str]) -> frozenset[str]:
        """The cells that look for ways out: the first open one of each question, unless a finished one has the answer.

        Ways out are the same with every seed.
        """
        told = {key: self._store.of_key(key) for key in done}
        answered = {self._cells[key].question() for key, record in told.items() if record and record.ways is not None}
        first: dict[str, str] = {}
        for key in self._order:
            question = self._cells[key].question()
            if key not in done and question not in answered:
                first.setdefault(question, key)
        return frozenset(first.values())

    def _watch(self) -> None:
        looked = time.monotonic()
        while len(self._over) < len(self._cells):
            if self._cancel.is_set():
                self._dismiss()
                raise Interrupted(
                    f"stopped after {len(self._over)} of {len(self._cells)} runs; finished runs are kept and the same "
                    "command resumes"
                )
            self._listen()
            self._replace_dead()
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                elsewhere = (self._store.finished_keys() | self._queue.over()) & self._cells.keys()
                for key in elsewhere - self._over.keys():
                    self._count(key, stored=True)
                self._queue.reclaim()
                self._put_back()

    def _put_back(self) -> None:
        """Cells that nobody has and nobody finished wait again; those that killed too many workers are given up."""
        live = self._queue.live()
        lost = [key for key in self._cells if key not in self._over and key not in live]
        lost = [key for key in lost if self._store.finished(key) is None]
        for key in lost:
            deaths = self._queue.deaths(key)
            if deaths > self._orders.lease.retries:
                self._store.put(key, _given_up(self._cells[key], deaths))
                self._count(key)
            else:
                case = self._cells[key].case
                self._queue.add({key: f"{case.method_name} on {case.model_name}, seed {self._cells[key].seed}"})

    def _listen(self) -> None:
        """What workers have said since the last look; waits a little when they said nothing."""
        heard = multiprocessing.connection.wait([c for _, c in self._hands], timeout=TICK) if self._hands else []
        for says in heard:
            with suppress(EOFError, OSError):  # a worker that died in the middle of a word
                self._hear(says.recv())  # type: ignore[union-attr]

    def _hear(self, words: tuple[Any, ...]) -> None:
        if words[0] == "ready":
            self._stillborn = 0.0
        elif words[0] == "step" and self._observe is not None:
            _, key, step, planned = words
            self._observe(Progress(len(self._over), len(self._cells), self._cells[key], step=step, planned=planned))
        elif words[0] == "over" and words[2][1] is not State.CANCELLED:
            self._count(words[1], stored=words[3])

    def _count(self, key: str, stored: bool = False) -> None:
        if key in self._over:
            return
        self._over[key] = stored
        if self._observe is not None:
            record = self._store.of_key(key)
            self._observe(Progress(len(self._over), len(self._cells), self._cells[key], record=record, stored=stored))

    def _replace_dead(self) -> None:
        for process, says in list(self._hands):
            if process.exitcode is None:
                continue
            self._hands.remove((process, says))
            with suppress(EOFError, OSError):
                while says.poll():
                    self._hear(says.recv())
            # A signal comes from outside and may hit anyone; an error of its own hits the next one too.
            self._stillborn += {0: 0.0}.get(process.exitcode, 1.0 if process.exitcode > 0 else 0.02)
        if self._stillborn > _STILLBORN * self._workers:
            raise PintpotError("workers die before they begin; run the same without --workers to see why")
        open_cells = len(self._cells) - len(self._over)
        while len(self._hands) < min(self._workers, open_cells):
            ours, its = _CONTEXT.Pipe(duplex=False)
            process = _CONTEXT.Process(target=work, args=(its, self._orders), daemon=True)
            process.start()
            its.close()
            self._hands.append((process, ours))

    def _dismiss(self) -> None:
        """Stop workers after their present step; those that do not listen are killed."""
        for process, _ in self._hands:
            if process.pid is not None and process.exitcode is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)
        until = time.monotonic() + 10
        for process, says in self._hands:
            while process.exitcode is None and time.monotonic() < until:
                with suppress(EOFError, OSError):
                    while says.poll(TICK):
                        self._hear(says.recv())
                process.join(TICK)
            if process.exitcode is None:
                process.kill()
        self._hands = []


def _given_up(cell: Cell, deaths: int) -> RunRecord:
    """What the store says of a cell that no worker lived through."""
    case = cell.case
    reason = f"{deaths} workers died over it, as they do when the machine runs out of memory"
    return RunRecord(
        new_id(), case.task_name, case.model_name, case.method_name, cell.seed, State.FAILED, case.config.model_dump(),
        family=case.method.card.family, reason=reason, device=cell.device, budget=cell.budget, batch=case.batch,
        accumulate=case.accumulate, length=case.length, profile=cell.profile, environment=environment(), created=now(),
    )  # fmt: skip
