"""What executes the operators that a tracker watches, and how it stops a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Runner(Protocol):
    """Executes one operator; returns its result and the bytes it needed inside (0 when not known)."""

    def __call__(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]: ...


def run_plainly(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, int]:
    """Execute on whatever the tensors are; inside bytes not known."""
    return func(*args, **kwargs), 0


class OverBudget(RuntimeError):
    """The tracker itself saw the limit passed (only where the ledger is not available)."""
