"""Processes to be killed: forked from a server that has everything imported, so that a kill costs milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["faults.warm"])


@dataclass(frozen=True)
class Child:
    """A process and what it says. What it sent before it died can still be received."""

    process: BaseProcess
    says: Connection

    def hear(self, timeout: float = 60.0) -> Any:
        """Its next message; ``None`` when it is gone and has nothing more to say."""
        try:
            if not self.says.poll(timeout):
                raise TimeoutError(f"a child said nothing for {timeout:g} s")
            return self.says.recv()
        except (EOFError, ConnectionResetError):
            return None

    def kill(self) -> list[Any]:
        """SIGKILL; what it had said until then, the last message perhaps torn and left out."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        return self.rest()

    def rest(self) -> list[Any]:
        heard = []
        while (message := self.hear()) is not None:
            heard.append(message)
        return heard


def child(target: Callable[..., None], *args: Any) -> Child:
    """Start ``target(connection, *args)`` in a process of its own; an error ends it as ``("failed", words)``."""
    ours, its = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_begin, args=(its, target, args), daemon=True)
    process.start()
    its.close()
    return Child(process, ours)


def _begin(says: Connection, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    try:
        target(says, *args)
    except Exception as error:
        says.send(("failed", f"{type(error).__name__}: {error}"))
