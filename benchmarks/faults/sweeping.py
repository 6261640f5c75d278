"""A sweep with workers, in a process group of its own that says what was committed, for experiments to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from workbench.ablate import Cell
from workbench.case import Case
from workbench.session import Schedule
from workbench.tasks.base import Sizes
from workbench.workers.queue import Lease

#: Short, so that an experiment can wait for it; as many retries as there may be kills.
LEASE = Lease(beat=1, length=5.0, retries=10_000)


def cells(first: int, count: int, steps: int = 3) -> list[Cell]:
    """Trainings of a fraction of a second each."""
    case = Case("tokens", "tiny-bert", "head", 4, 8)
    return [Cell(case, seed, None, Schedule(steps=steps), Sizes(8, 4)) for seed in range(first, first + count)]


_BEGIN = "import sys; from faults.sweeping import main; main(*sys.argv[1:])"


class Crew:
    """The process that runs a sweep, in a group of its own; its workers are children of its fork server."""

    def __init__(
        self,
        folder: Path,
        first: int,
        count: int,
        *,
        workers: int = 2,
        url: str = "",
        weak: str = "",
        steps: int = 3,
        env: dict[str, str] | None = None,
        stderr: IO[bytes] | None = None,
    ):
        command = [
            sys.executable,
            "-c",
            _BEGIN,
            str(folder),
            str(first),
            str(count),
            str(workers),
            str(steps),
            url,
            weak,
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr or subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._torn = ""
        self.workers: list[int] = []

    def hear(self) -> list[str]:
        """Ids of runs acknowledged since; the last line may be torn by a kill and then was none."""
        assert self._process.stdout is not None
        *lines, self._torn = (self._torn + (self._process.stdout.read() or b"").decode()).split("\n")
        for line in lines:
            if line.startswith("worker "):
                self.workers.append(int(line.split()[1]))
        return [line.split()[1] for line in lines if line.startswith("kept ")]

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill_worker(self, pid: int) -> bool:
        """SIGKILL; False when it had ended by itself."""
        self.workers.remove(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to everything at once: the crew, its fork server, its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def main(folder: str, first: str, count: str, workers: str, steps: str, url: str, weak: str) -> None:
    from workbench.records.store import RunStore
    from workbench.workers import crew

    crew._CONTEXT.set_forkserver_preload(["faults.warm_sweep"])
    started = crew._CONTEXT.Process.start

    def told(process: crew.BaseProcess) -> None:
        started(process)  # type: ignore[arg-type]
        print("worker", process.pid, flush=True)

    crew._CONTEXT.Process.start = told  # type: ignore[assignment, method-assign]
    if weak:
        _weaken(weak)
    store = RunStore(Path(folder), url or None)

    def observe(progress: crew.Progress) -> None:
        if progress.record is not None:
            print("kept", progress.record.id, flush=True)

    crew.sweep_with(int(workers), cells(int(first), int(count), int(steps)), store=store, lease=LEASE, observe=observe)


def _weaken(how: str) -> None:
    """Optuna as it comes: ``alone`` without heartbeat, ``clock`` with its own heartbeat; nobody puts cells back."""
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    from workbench.workers import crew, queue

    beating = {"heartbeat_interval": LEASE.beat, "grace_period": int(LEASE.length) + 1}
    own = {"alone": {}, "clock": {**beating, "heartbeat_stale_trial_callback": RetryHeartbeatStaleTrialCallback()}}[how]
    queue.ObservedStorage = lambda url, lease, checked=False: RDBStorage(url, **own)  # type: ignore[assignment, misc]
    once = crew._Crew._put_back
    done: list[bool] = []

    def first_only(self: crew._Crew) -> None:
        if not done:
            done.append(True)
            once(self)

    crew._Crew._put_back = first_only  # type: ignore[method-assign]
