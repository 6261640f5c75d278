"""Memory that torch's allocator never sees: packed int8 weights, arrays of numpy that a step turns into tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

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
