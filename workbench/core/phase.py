"""Marks where a training step is, so that a tracer can tell forward from backward from update.

Estimators write ``with in_phase(Phase.FORWARD): ...``; nobody listening costs one list check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.core.profile import Phase

_listeners: list[Callable[[Phase | None], None]] = []
_current: list[Phase] = []


@contextmanager
def in_phase(phase: Phase) -> Iterator[None]:
    """Declare that what runs inside belongs to ``phase``; phases may nest (an update inside backward)."""
    _current.append(phase)
    for listener in _listeners:
        listener(phase)
    try:
        yield
    finally:
        _current.pop()
        outer = _current[-1] if _current else None
        for listener in _listeners:
            listener(outer)


@contextmanager
def listening(listener: Callable[[Phase | None], None]) -> Iterator[None]:
    """Call ``listener(phase)`` at every phase change while the context lasts."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
