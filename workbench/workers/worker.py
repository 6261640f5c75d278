"""One process that takes cells from a queue until there are none left. It may be killed at any moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
import torch

from workbench.ablate import Cell, settle
from workbench.methods.base import methods
from workbench.plan.refusal import SECONDS
from workbench.records.schema import RunRecord, State, StepRecord
from workbench.records.store import RunStore
from workbench.session import Session
from workbench.workers.queue import Lease, Queue

PAUSE = 0.2  #: seconds between looks at an empty queue, and between two reports of steps


@dataclass(frozen=True)
class Orders:
    """What a worker is told: the cells by content key, where results and queue are, how many torch threads to use,
    the user's own files that methods are in, and the cells that look for ways out should their budget refuse them."""

    cells: Mapping[str, Cell]
    store: RunStore
    queue: str
    lease: Lease
    threads: int
    files: tuple[Path, ...] = ()
    searching: frozenset[str] = frozenset()


def work(says: Connection, orders: Orders) -> None:
    """Take and run cells until none waits and none is under way, or until told to stop (INT or TERM)."""
    _Worker(says, orders).work()


class _Worker:
    def __init__(self, says: Connection, orders: Orders) -> None:
        self._cancel = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        torch.set_num_threads(orders.threads)
        self._says, self._orders = says, orders
        for file in orders.files:
            methods.load(file)
        self._queue = Queue(orders.queue, orders.cells, orders.lease, joining=True)
        self._told, self._now = 0.0, ""

    def _stop(self, number: int, _: Any) -> None:
        if self._cancel.is_set():
            raise KeyboardInterrupt
        self._cancel.set()

    def work(self) -> None:
        self._say("ready")
        while not self._cancel.is_set():
            if self._queue.waiting():
                self._take()
                continue
            self._queue.reclaim()
            if not self._queue.live():
                return
            self._say("idle")
            self._cancel.wait(PAUSE)

    def _take(self) -> None:
        # A cell may have been given away while this process was stopped; the result that was first counts.
        try:
            self._queue.study.optimize(self._run, n_trials=1)
        except optuna.exceptions.UpdateFinishedTrialError:
            return
        except ValueError as error:  # what Optuna says when it is told of a trial that has ended or waits again
            if not str(error).startswith("Cannot tell a "):
                raise

    def _run(self, trial: optuna.Trial) -> float:
        """The score of the trial's cell. Its result is in the store before Optuna hears of it."""
        key = trial.user_attrs.get("key")
        if key is None:  # another worker was quicker; Optuna then proposes a trial of its own
            raise optuna.TrialPruned("nothing waited")
        first = self._queue.live().get(key)
        if first is not None and first.number < trial.number:
            raise optuna.TrialPruned("under way elsewhere")
        self._now = key
        patience = SECONDS if key in self._orders.searching else 0.0
        record, stored = settle(self._orders.cells[key], self._orders.store, self._cancel, self._step, patience)
        self._say("over", key, _brief(record), stored)
        if record.state is State.CANCELLED:
            trial.study.stop()
            raise optuna.TrialPruned("stopped")
        trial.set_user_attr("over", record.state.value)
        if record.accuracy is None:
            raise optuna.TrialPruned(record.reason)
        return record.accuracy

    def _step(self, step: StepRecord, session: Session) -> None:
        if time.monotonic() - self._told > PAUSE:
            self._told = time.monotonic()
            self._say("step", self._now, step, session.total)

    def _say(self, *words: Any) -> None:
        """Tell who started this process; without anybody to tell, finish the step and leave."""
        try:
            self._says.send(words)
        except OSError:
            self._cancel.set()


def _brief(record: RunRecord) -> tuple[str, State]:
    return record.id, record.state
