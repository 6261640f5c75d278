"""One at a time: what counts the bytes of this whole process, or makes torch another one for a while, runs alone.

The ledger counts what every thread allocates, and a prediction patches torch for every thread. So predicting, probing,
measuring and training take turns: whoever waits comes before whoever had the last turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from workbench.core.stopping import Stopped, check, heeding

PAUSE = 0.05  #: seconds between two looks at whether whoever waits has been cancelled

Made = TypeVar("Made")

_turn, _next = threading.Lock(), threading.Lock()  #: held by who runs; by the first of those who wait
_owner: int | None = None


@contextmanager
def alone(cancel: threading.Event | None = None) -> Iterator[None]:
    """No other thread is inside this context meanwhile; whoever is inside may enter it again.

    Raises ``Stopped`` where ``cancel``, or the event that this thread heeds, is set while it waits.
    """
    global _owner
    if _owner == threading.get_ident():
        yield
        return
    with nullcontext() if cancel is None else heeding(cancel):
        _wait()
    try:
        _owner = threading.get_ident()
        yield
    finally:
        _owner = None
        _turn.release()


def each_alone(made: Generator[Made], cancel: threading.Event | None = None) -> Iterator[Made]:
    """Each of ``made`` is made alone; while it is looked at, others have their turn.

    Cancelled while it waits, ``made`` hears of it where it stands, as ``Stopped``, and ends in its own way.
    """
    while True:
        try:
            with alone(cancel):
                one = next(made)
        except StopIteration:
            return
        except Stopped as stopped:
            try:
                made.throw(stopped)  # raised at once where it came from there
            except StopIteration:
                return
            raise
        yield one


def _wait() -> None:
    """Only the first who waits asks for the turn itself, so that nobody takes it twice in a row past another."""
    _get(_next)
    try:
        _get(_turn)
    finally:
        _next.release()


def _get(lock: threading.Lock) -> None:
    while not lock.acquire(timeout=PAUSE):
        check()


def _begin_as_a_child() -> None:
    """A forked process has one thread only: the turn is its own where that thread had it, else nobody's."""
    global _turn, _next, _owner
    _turn, _next = threading.Lock(), threading.Lock()
    if _owner == threading.get_ident():
        _turn.acquire()
    else:
        _owner = None


os.register_at_fork(after_in_child=_begin_as_a_child)
