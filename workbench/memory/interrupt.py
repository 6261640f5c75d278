"""Cancel within a step: the next allocation, or the next operator that a tracker sees, gives the step up.

A step is given up only while nothing that it changes has changed, so what is kept of a run is its last whole step, to
the bit. Whoever calls says when that is: anywhere where everything is put back afterwards, else until the first update.
"""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from workbench.core.stopping import Stopped, deaf, heeding
from workbench.memory import ledger
from workbench.memory.randomness import random_states, set_random_states

PAUSE = 0.05  #: seconds between two looks at whether a run is cancelled
SMALL = 1 << 16  #: bytes; a buffer up to this size is kept and put back (running statistics), a larger one is weights

_numbers = itertools.count(1)


class Step(Protocol):
    """What is given up: a training step that says when it begins to update."""

    model: nn.Module
    parts: Any
    committing: Callable[[], None] | None


class Interrupt:
    """A context in which steps end early once ``cancel`` is set; without the ledger only those that a tracker sees."""

    def __init__(self, cancel: threading.Event) -> None:
        self._cancel, self._over, self._number = cancel, threading.Event(), next(_numbers)
        self._watcher = threading.Thread(target=self._watch, name="watch-for-cancel", daemon=True)

    def __enter__(self) -> Interrupt:
        if ledger.available():
            if self._cancel.is_set():
                self.now()
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(PAUSE):
            if self._cancel.is_set():
                self.now()
                return

    def now(self) -> None:
        """Do not wait for the next look: ``cancel`` is set."""
        ledger.interrupt(self._number)

    @contextmanager
    def anywhere(self) -> Iterator[None]:
        """What runs inside changes nothing that is kept. Raises ``Stopped`` where it was given up."""
        try:
            with heeding(self._cancel), ledger.interruptible(self._number):
                yield
            return
        except Exception as error:
            if not self._cancel.is_set():
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the graph and the tensors of the step
        raise Stopped

    def of(self, step: Step) -> AbstractContextManager[None]:
        """Give ``step`` up where its estimator says that it can be, else let it end."""
        return self.until_the_first_update(step) if getattr(step.parts.estimator, "gives_up", False) else nullcontext()

    @contextmanager
    def until_the_first_update(self, step: Step) -> Iterator[None]:
        """Give ``step`` up before its first update or not at all; then buffers and random states are as before it."""
        buffers, states = _small_buffers(step.model), random_states()
        step.committing = _commit
        try:
            with self.anywhere():
                yield
        except Stopped:
            for buffer, value in buffers:
                _bytes_of(buffer)[:] = value
            for parameter in step.model.parameters():
                parameter.grad = None
            set_random_states(states)
            raise
        finally:
            step.committing = None


def _commit() -> None:
    deaf()
    ledger.uninterruptible()


def _small_buffers(model: nn.Module) -> list[tuple[Tensor, Any]]:
    """Copies beside torch's memory: the ledger counts the step alone."""
    small = (b for b in model.buffers() if 0 < b.nbytes <= SMALL and b.is_contiguous() and b.device.type == "cpu")
    return [(buffer, _bytes_of(buffer).copy()) for buffer in small]


def _bytes_of(tensor: Tensor) -> np.ndarray:
    import torch

    return tensor.detach().reshape(-1).view(torch.uint8).numpy()
