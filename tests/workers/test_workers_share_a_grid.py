"""Workers take cells from one queue: each once, given back when silent, given up when they keep dying, resumed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from workbench.ablate import Cell, Progress, sweep
from workbench.case import Case
from workbench.core.errors import BadInput, Interrupted
from workbench.core.schedule import Schedule
from workbench.records.schema import State
from workbench.records.store import RunStore
from workbench.tasks.base import Sizes
from workbench.workers import queue as queues
from workbench.workers.crew import sweep_with
from workbench.workers.queue import Lease, Queue
from workbench.workers.status import sweeps

CASE = Case("tokens", "tiny-bert", "head", 4, 8)
WAITING, RUNNING = optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING


def _cells(count: int, steps: int = 3) -> list[Cell]:
    return [Cell(CASE, seed, None, Schedule(steps=steps), Sizes(8, 4)) for seed in range(count)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The steady clock of the queue, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr(queues.time, "monotonic", lambda: now[0])
    yield now


def _queue(tmp_path: Path, keys: str = "ab", **lease: float) -> Queue:
    return Queue(f"sqlite:///{tmp_path / 'q.sqlite'}", keys, Lease(**lease))  # type: ignore[arg-type]


def test_a_cell_is_handed_out_once_and_added_once(tmp_path: Path) -> None:
    queue = _queue(tmp_path)
    queue.add({"a": "first", "b": "second"})
    _queue(tmp_path).add({"a": "first", "b": "second"})  # whoever sweeps the same grid adds nothing
    assert len(queue.study.trials) == 2
    taken = queue.study.ask()
    assert taken.user_attrs["key"] == "a" and queue.waiting()
    queue.add({"a": "first"})
    assert len(queue.study.trials) == 2
    queue.study.ask()
    assert not queue.waiting() and set(queue.live()) == {"a", "b"}


def _claims(url: str, keys: str, begin: Any, taken: Any) -> None:
    study = Queue(url, keys, Lease(), joining=True).study
    taken.put("ready")
    begin.wait()
    for _ in keys:
        taken.put(study.ask().user_attrs.get("key"))


def test_processes_that_claim_at_once_never_take_the_same_cell(tmp_path: Path) -> None:
    keys, url = "abcdefghijklmnopqrst", f"sqlite:///{tmp_path / 'q.sqlite'}"
    context = multiprocessing.get_context("fork")
    Queue(url, keys).add(dict.fromkeys(keys, ""))
    begin, taken = context.Event(), context.Queue()
    claimers = [context.Process(target=_claims, args=(url, keys, begin, taken), daemon=True) for _ in range(4)]
    for claimer in claimers:
        claimer.start()
    assert [taken.get(timeout=180) for _ in claimers] == ["ready"] * 4
    begin.set()
    found = [taken.get(timeout=180) for _ in range(4 * len(keys))]
    assert sorted(key for key in found if key) == list(keys)


def test_a_damaged_queue_is_kept_aside_and_made_anew(tmp_path: Path) -> None:
    _queue(tmp_path).add({"a": ""})
    for ending in ("", "-wal", "-shm"):
        (tmp_path / f"q.sqlite{ending}").write_bytes(b"no database" * 1000)
    assert Queue.of_before(f"sqlite:///{tmp_path / 'q.sqlite'}", "ab", Lease()) is None  # nor is it an error
    queue = _queue(tmp_path)
    queue.add({"a": ""})
    assert queue.waiting() and (tmp_path / "q.sqlite.damaged-1").exists()


def test_silence_for_a_lease_gives_a_cell_away_whatever_the_wall_clock_says(tmp_path: Path, clock: list[float]) -> None:
    queue = _queue(tmp_path, length=5)
    storage = queue.study._storage
    queue.add({"a": "", "b": ""})
    silent, beating = queue.study.ask(), queue.study.ask()  # the first dies before it ever said a word
    queue.reclaim()
    clock[0] += 4
    storage._backend.record_heartbeat(beating._trial_id)  # type: ignore[attr-defined]
    queue.reclaim()
    assert not queue.waiting()
    clock[0] += 2
    queue.reclaim()
    states = {t.number: t.state for t in queue.study.trials}
    assert states[silent.number].name == "FAIL" and states[beating.number] is RUNNING
    again = queue.study.get_trials(states=(WAITING,))
    assert [t.user_attrs["key"] for t in again] == ["a"] and queue.deaths("a") == 1 and queue.deaths("b") == 0
    assert _queue(tmp_path).deaths("a") == 0  # a new sweep tries again


def test_workers_give_the_records_that_one_process_gives(tmp_path: Path) -> None:
    cells = _cells(5)
    alone = list(sweep(cells, store=RunStore(tmp_path / "alone")))
    seen: list[Progress] = []
    store = RunStore(tmp_path / "shared")
    shared = sweep_with(2, cells, store=store, observe=seen.append)
    assert [[s.loss for s in r.steps] for r in shared] == [[s.loss for s in r.steps] for r in alone]
    assert [r.seed for r in shared] == list(range(5)) and len(store.lines()) == 5
    assert [p.done for p in seen if p.record] == [1, 2, 3, 4, 5]
    again: list[Progress] = []
    assert sweep_with(2, cells, store=store, observe=again.append) == shared
    assert all(p.stored for p in again)
    (status,) = sweeps(store.queue)
    assert (status.cells, status.over, status.under_way, status.waiting) == (5, 5, 0, 0)


def test_what_a_worker_had_stored_but_not_told_the_queue_is_closed_with_the_sweep(tmp_path: Path) -> None:
    cells, store = _cells(2), RunStore(tmp_path)
    list(sweep(cells, store=store))
    queue = Queue(store.queue, [cell.key() for cell in cells])
    queue.add({cell.key(): "" for cell in cells})
    queue.study.ask()  # its worker dies here; the other cell was given back and waits
    taken = queue.study.ask()
    queue.study.ask()  # nothing waits, and the one that came too late dies as well
    queue.study._storage.set_trial_state_values(taken._trial_id, WAITING)
    assert Queue.of_before(store.queue, ["another grid"], queue.lease) is None
    sweep_with(2, cells, store=store)
    (status,) = sweeps(store.queue)
    assert (status.cells, status.over, status.under_way, status.waiting) == (2, 2, 0, 0)


def test_a_cell_that_kills_its_workers_is_given_up_and_tried_again_next_time(tmp_path: Path) -> None:
    store, killed = RunStore(tmp_path), []

    def kill(progress: Progress) -> None:
        if progress.step is not None and not killed:
            for child in multiprocessing.active_children():
                killed.append(child.pid)
                os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]

    lease = Lease(beat=1, length=2, retries=0)
    (cell,) = _cells(1, steps=600)
    cell = replace(cell, case=replace(cell.case, accumulate=2))
    (record,) = sweep_with(1, [cell], store=store, lease=lease, observe=kill)
    assert killed and record.state is State.FAILED and "1 workers died over it" in record.reason
    assert (record.batch, record.accumulate) == (cell.case.batch, 2)
    (record,) = sweep_with(1, [cell], store=store, lease=lease)
    assert record.state is State.DONE and [line.state for line in store.lines()] == [State.DONE]


def test_a_stopped_sweep_keeps_what_was_done_and_goes_on(tmp_path: Path) -> None:
    store, cancel = RunStore(tmp_path), threading.Event()

    def stop(progress: Progress) -> None:
        if progress.record is not None:
            cancel.set()

    with pytest.raises(Interrupted, match="the same command resumes"):
        sweep_with(2, _cells(12, steps=30), store=store, observe=stop, cancel=cancel)
    before = {line.id for line in store.lines() if line.state == State.DONE}
    assert 1 <= len(before) < 12
    assert not multiprocessing.active_children()
    records = sweep_with(2, _cells(12, steps=30), store=store)
    assert [r.state for r in records] == [State.DONE] * 12 and before <= {r.id for r in records}


def test_a_number_of_workers_must_mean_something(tmp_path: Path) -> None:
    for workers in (0, -1, True, 1.5):
        with pytest.raises(BadInput, match="workers"):
            sweep_with(workers, _cells(1), store=RunStore(tmp_path / "never"))  # type: ignore[arg-type]
    assert not (tmp_path / "never").exists()


def test_ctrl_c_at_the_command_ends_it_resumable(tmp_path: Path) -> None:
    words = ["ablate", "method=head", "seed=0,1,2,3,4,5", "--task", "tokens", "--model", "tiny-bert", "--batch", "4",
             "--length", "8", "--train", "40", "--test", "4", "--epochs", "20", "--workers", "2", "--json"]  # fmt: skip
    command = [sys.executable, "-m", "workbench.cli", *words]
    env = {**os.environ, "PINTPOT_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not RunStore(tmp_path).lines() and started.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=180)
    assert started.returncode == 5 and "the same command resumes" in said, said
    done = {line.id for line in RunStore(tmp_path).lines() if line.state == State.DONE}
    assert done
    again = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    lines = RunStore(tmp_path).lines()
    assert [line.state for line in lines] == [State.DONE] * 6 and done <= {line.id for line in lines}


def test_ways_out_are_looked_for_once_for_all_seeds(tmp_path: Path) -> None:
    case = Case("tokens", "tiny-bert", "full", 4, 8)
    cells = [Cell(case, seed, 100_000, Schedule(steps=2), Sizes(8, 4)) for seed in range(3)]
    store = RunStore(tmp_path / "runs")
    records = sweep_with(2, cells, store=store)
    assert [record.state for record in records] == [State.REFUSED] * 3
    assert [record.ways is not None for record in records] == [True, False, False]
    more = sweep_with(1, [*cells, replace(cells[0], seed=3)], store=store)
    assert more[-1].state is State.REFUSED and more[-1].ways is None
