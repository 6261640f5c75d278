"""How long a run trains, and how its learning rate rises and falls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How long to train. ``epochs`` counts passes over the training split; ``steps`` overrides it."""

    epochs: float = 2.0
    steps: int | None = None
    warmup: float = 0.1

    def total(self, examples: int, per_step: int) -> int:
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * (examples // per_step)))

    def factor(self, step: int, total: int) -> float:
        """Linear warm-up, then linear decay to zero."""
        rise = max(1, round(self.warmup * total))
        if step < rise:
            return (step + 1) / rise
        return max(0.0, (total - step) / max(1, total - rise))
