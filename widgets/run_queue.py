"""One run at a time, in a thread that ends when nothing waits and that no closing kernel waits for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Job = Callable[[], None]


class RunQueue:
    """Jobs in the order they came. The ledger counts every thread of the process, so two runs never overlap."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a job put now would have to wait."""
        return self._thread is not None

    def put(self, job: Job) -> None:
        """Run ``job`` after all that were put before. A job explains its own errors; none may escape it."""
        with self._changing:
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pintpot-run", daemon=True)
                self._thread.start()

    def withdraw(self, job: Job) -> bool:
        """Take back a job that has not begun; whether it could be."""
        with self._changing:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            return True

    def _work(self) -> None:
        while True:
            with self._changing:
                if not self._waiting:
                    self._thread = None
                    return
                job = self._waiting.popleft()
            job()


#: The one queue of the process: the guard counts everything torch holds, so two trainings never run at once.
QUEUE = RunQueue()


def on_kernel_thread(call: Job) -> None:
    """Call where widgets may speak to the front end: soon on the kernel's event loop, at once outside a kernel."""
    loop = getattr(getattr(_shell(), "kernel", None), "io_loop", None)
    if loop is None:
        call()
    else:
        loop.add_callback(call)


def cell_under_way() -> tuple[str, int] | None:
    """The cell being executed and the count of its execution, where the front end says which cell it is."""
    shell = _shell()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = (parent.get("metadata") or {}).get("cellId")
    return (cell, shell.execution_count) if cell else None


def _shell() -> object | None:
    from IPython import get_ipython

    return get_ipython()
