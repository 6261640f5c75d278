"""Give up on work that takes too long, in whatever thread it runs."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _TimeIsUp(BaseException):
    """Not an ``Exception``, so that code which catches those lets it through."""


class TooSlow(RuntimeError):
    """The work was given up; the message says after how long."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise ``TooSlow`` in this thread when the work inside takes longer.

    It is raised between two Python instructions: a call into C, or to a compiler, is waited for.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock, over = threading.Lock(), False

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TimeIsUp))

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                over = True
            timer.cancel()
    except _TimeIsUp:
        raise TooSlow(f"{what} took longer than {seconds:g} s") from None
