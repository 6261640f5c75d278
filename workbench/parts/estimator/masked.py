"""Compute every gradient, then drop those outside the update set: what a pruned backward pass is measured against.

Saves no activation, no backward work and no gradient memory at the peak; only the optimizer state of what is masked.
Public simulators of sparse updates do exactly this, so it stands beside the real thing as an arm of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop


@dataclass(frozen=True)
class Masked:
    """Backpropagation through everything; the gradient of what was frozen at first is dropped before the update."""

    uses_backward: ClassVar[bool] = True

    def prepare(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.masked = not parameter.requires_grad  # type: ignore[attr-defined]
            parameter.requires_grad_(parameter.is_floating_point())

    def step(self, step: Step) -> Tensor:
        return Backprop().step(MaskedUpdates(step))


class MaskedUpdates:
    """The step as it is, except that an update first drops the gradients of what is masked."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def update(self) -> None:
        for parameter in self._step.parameters:
            if parameter.masked:  # type: ignore[attr-defined]
                parameter.grad = None
        self._step.update()
