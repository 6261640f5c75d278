"""Stretches of code in which Python's cyclic garbage collector keeps still."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_changing = threading.Lock()
_inside = 0  #: contexts of all threads; the collector is the process's
_enabled = False  #: whether it collected before the first of them


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage collection inside: frees come at a fixed place, and many new objects are not looked through."""
    global _inside, _enabled
    with _changing:
        if not _inside:
            _enabled = gc.isenabled()
        _inside += 1
        gc.disable()
    try:
        yield
    finally:
        with _changing:
            _inside -= 1
            if not _inside and _enabled:
                gc.enable()


def seldom() -> None:
    """Collect seldom from now on: for a process that ends with its answer, and imports most of what it ever holds."""
    gc.set_threshold(20_000, 20, 20)
