"""Memory that torch's allocator never sees: packed int8 weights, arrays of numpy that a step turns into tensors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from workbench.memory.step import Step, kept_arrays

_reporters: dict[str, Callable[[nn.Module], int]] = {}


def reports_outside(name: str, measure: Callable[[nn.Module], int]) -> None:
    """Register ``measure(model) -> bytes`` under ``name``; it must read sizes, never assume them."""
    _reporters[name] = measure


def outside(model: nn.Module) -> dict[str, int]:
    """Bytes outside torch's allocator by name; names with nothing to report are left out."""
    found = {name: int(measure(model)) for name, measure in _reporters.items()}
    return {name: size for name, size in found.items() if size}


class Foreign:
    """Storages of one step that lie in memory which torch did not allocate: numpy's, a mapped file's.

    What a step finds already there counts as what it is for (weights, inputs), wherever it lies.
    """

    def __init__(self) -> None:
        self._live: dict[int, int] = {}
        self._highest = 0

    def begin(self) -> None:
        """A new step."""
        self._highest = sum(self._live.values())

    def takes(self, storage: torch.UntypedStorage) -> bool:
        """Whether this storage is one; then it is counted here until :meth:`ended`."""
        if "shared" not in storage.__dict__ and (storage.resizable() or "unknown" in storage.__dict__):
            return False  # torch's own, or one without data
        self._live[storage._cdata] = storage.nbytes()
        self._highest = max(self._highest, sum(self._live.values()))
        return True

    def ended(self, key: int) -> None:
        """The storage at this address is gone."""
        self._live.pop(key, None)

    def __contains__(self, key: int) -> bool:
        return key in self._live

    def told(self) -> dict[str, int]:
        """The most bytes at one moment, by a name; nothing where there were none."""
        return {"tensors in memory that torch did not allocate": self._highest} if self._highest else {}


PYTHON = "arrays and objects of numpy and Python"
LEAST = 1 << 20  #: bytes below which objects of Python are not told: a step's own ones are thousands of small ones


def python_memory(step: Step, batch: object) -> int:
    """Bytes that numpy and Python hold beside torch at most in one step, by ``tracemalloc``; performs the step.

    Nothing else may watch it: tracing slows a step, and a tracker has objects of its own. What is kept between steps
    counts where the step's parts refer to it, arrays and byte arrays alone. Not seen: what else is kept, and memory
    that no allocator of Python's hands out, such as shared memory and what C code takes for itself.
    """
    kept = sum(value.nbytes if isinstance(value, np.ndarray) else len(value) for value in kept_arrays(step))
    mine = not tracemalloc.is_tracing()
    if mine:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = step(batch)
        del result
        return kept + tracemalloc.get_traced_memory()[1] - before
    finally:
        if mine:
            tracemalloc.stop()
