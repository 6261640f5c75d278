"""Giving up what is under way once whoever waits for it has cancelled: asked between two operators, not two steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """What was under way was given up. No ``Exception``: nobody on the way may take it for a failure of its own."""


_heeded = threading.local()


@contextmanager
def heeding(cancel: threading.Event) -> Iterator[None]:
    """Inside, in this thread, :func:`check` gives up once ``cancel`` is set."""
    outer = getattr(_heeded, "cancel", None)
    _heeded.cancel = cancel
    try:
        yield
    finally:
        _heeded.cancel = outer


def deaf() -> None:
    """Heed nothing until the context that began it is left: what follows must not be done by half."""
    _heeded.cancel = None


def check() -> None:
    """Raise :class:`Stopped` when cancelled; for code that is called at every operator."""
    cancel = getattr(_heeded, "cancel", None)
    if cancel is not None and cancel.is_set():
        raise Stopped
