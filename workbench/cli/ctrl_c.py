"""Ctrl-C from the first import of a command on: one sentence, whatever the main thread was just doing."""

from __future__ import annotations

import _thread
import signal
import sys
from typing import Any

AGAIN = 0.02  #: seconds after which an interrupt that was swallowed comes again

_pressed: list[int] = []
_unraisable = sys.unraisablehook


class CtrlC(KeyboardInterrupt):
    """What Ctrl-C raises in a command. Where a plain ``KeyboardInterrupt`` has left code that Python was given as text,
    as libraries do while they are imported, Python ends the process by the signal, although it was caught since."""


def listen() -> None:
    """From now on Ctrl-C raises ``CtrlC``; a process that was started deaf to it stays so."""
    _pressed.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
        sys.unraisablehook = _swallowed


def pressed() -> bool:
    """Whether Ctrl-C was heard; a library may have made another error of it."""
    return bool(_pressed)


def ended(interrupted: bool) -> None:
    """The command is over. Its answer stands if it has one; else another Ctrl-C ends what may still be under way."""
    signal.signal(signal.SIGINT, signal.SIG_DFL if interrupted else _too_late)


def _too_late(number: int, _: Any) -> None:
    """Nothing is left to end. A handler, as processes that were started by this one would inherit deafness."""


def _stop(number: int, _: Any) -> None:
    _pressed.append(number)
    raise CtrlC


def _swallowed(told: Any) -> None:
    """A destructor or a callback, where it happened to be raised, hands on no exception: it is raised again later."""
    if told.exc_type is not CtrlC:
        return _unraisable(told)
    from threading import Timer

    timer = Timer(AGAIN, _thread.interrupt_main)
    timer.daemon = True
    timer.start()
    return None
