"""Compute the gradients of whole matrices, then drop all but the slices: what a dense slice is measured against.

The weights come out the same. Whole inputs are kept, whole gradients computed and whole optimizer states held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from workbench.models.sliced_adapter import slices_of
from workbench.parts.base import Step
from workbench.parts.estimator.backprop import Backprop


@dataclass(frozen=True)
class MaskedSlices:
    """Backpropagation through everything; outside the slices the gradient is set to zero before the update."""

    uses_backward: ClassVar[bool] = True

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change: the selection left whole matrices trainable."""

    def step(self, step: Step) -> Tensor:
        return Backprop().step(_OnlySlices(step))


class _OnlySlices:
    """The step as it is, except that an update first empties the gradient outside the slices."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def update(self) -> None:
        model = self._step.model
        for one in slices_of(model):
            for role, name in one.cut.items():
                gradient = model.get_submodule(name).weight.grad
                if gradient is None:
                    continue
                outermost = gradient if role in one.structure.producers else gradient.t()  # type: ignore[operator]
                outermost[one.channels(role) :].zero_()
        self._step.update()
