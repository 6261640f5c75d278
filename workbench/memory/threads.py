"""Threads that a step starts: what they allocate, no dispatch mode of the step's own thread sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.core.errors import Incompatible
from workbench.memory.patched import patched


@contextmanager
def each_start(hear: Callable[[threading.Thread], None]) -> Iterator[None]:
    """``hear`` of every thread that the code inside starts, before it runs; not of those of the process's others."""
    start, own = threading.Thread.start, threading.get_ident()

    def heard(self: threading.Thread) -> None:
        if threading.get_ident() == own:
            hear(self)
        start(self)

    with patched(threading.Thread, start=heard):
        yield


@contextmanager
def no_threads() -> Iterator[None]:
    """Refuse afterwards, by an ``Incompatible`` naming ``prediction``, if the code inside started a thread.

    The thread itself runs as ever, on real tensors; what other threads of the process start meanwhile (a notebook's
    kernel, a queue of runs) is nobody's business here. Threads of C++ libraries are not seen: they run inside an
    operator, which is probed as a whole.
    """
    started: list[str] = []
    with each_start(lambda thread: started.append(thread.name)):
        yield
    if started:
        reason = "its step starts threads of its own, whose memory cannot be followed; measure it instead"
        raise Incompatible("prediction", started[0], reason)
