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


# -- what a call costs beside its operators ---------------------------------------------------------------

_counters: list[Callable[[str], None]] = []


def paid(kind: str) -> None:
    """Say that code of our own has just done something that takes time and that no operator shows."""
    for counter in _counters:
        counter(kind)


@contextmanager
def counting(counter: Callable[[str], None]) -> Iterator[None]:
    """Call ``counter(kind)`` at every :func:`paid` while the context lasts."""
    _counters.append(counter)
    try:
        yield
    finally:
        _counters.remove(counter)


# -- work that not every step does ---------------------------------------------------------------------

_at_most = 0
_seldom = 0


@contextmanager
def at_its_most() -> Iterator[None]:
    """A step inside does everything that a step may have to do: caches answer nothing.

    Predictions and measurements of memory run this way, so that a peak is the highest of the whole run.
    """
    global _at_most
    _at_most += 1
    try:
        yield
    finally:
        _at_most -= 1


def is_at_its_most() -> bool:
    return _at_most > 0


@contextmanager
def seldom() -> Iterator[None]:
    """Mark work that a steady step does not repeat; who counts the time of a step leaves it out."""
    global _seldom
    _seldom += 1
    try:
        yield
    finally:
        _seldom -= 1


def is_seldom() -> bool:
    return _seldom > 0
