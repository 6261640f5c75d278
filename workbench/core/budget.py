"""What a device or a user allows one training step to cost."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.units import parse_size


@dataclass(frozen=True)
class Budget:
    """Limits of one training step; ``None`` means unlimited. ``memory`` is in bytes."""

    memory: int | None = None
    time_s: float | None = None
    energy_j: float | None = None

    @classmethod
    def parse(cls, memory: str | int | float | None) -> Budget:
        return cls(None if memory is None else parse_size(memory, "budget"))

    def admits(self, peak: int) -> bool:
        return self.memory is None or peak <= self.memory
