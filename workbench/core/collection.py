"""Stretches of code in which Python's cyclic garbage collector keeps still."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage collection inside: frees come at a fixed place, and many new objects are not looked through."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def seldom() -> None:
    """Collect seldom from now on: for a process that ends with its answer, and imports most of what it ever holds."""
    gc.set_threshold(20_000, 20, 20)
