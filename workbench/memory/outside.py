"""Memory that torch's allocator never sees, reported by the code that owns it (packed int8 weights)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

_reporters: dict[str, Callable[[nn.Module], int]] = {}


def reports_outside(name: str, measure: Callable[[nn.Module], int]) -> None:
    """Register ``measure(model) -> bytes`` under ``name``; it must read sizes, never assume them."""
    _reporters[name] = measure


def outside(model: nn.Module) -> dict[str, int]:
    """Bytes outside torch's allocator by name; names with nothing to report are left out."""
    found = {name: int(measure(model)) for name, measure in _reporters.items()}
    return {name: size for name, size in found.items() if size}
