"""Apply each parameter's update as soon as its gradient is complete, then drop the gradient (LOMO's idea)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.parts.base import Step


@dataclass(frozen=True)
class UpdateInBackward:
    """At most one layer's gradient is alive. Needs one optimizer per parameter and no accumulation.

    It lowers the peak only where gradients dominate it: with large activations the peak stands at the
    start of backward, when no gradient exists yet.
    """

    uses_backward: ClassVar[bool] = True
    gives_up: ClassVar[bool] = True

    def prepare(self, model: nn.Module) -> None:
        """Hooks are put on per step, so that the model stays clean."""

    def step(self, step: Step) -> Tensor:
        losses = step.losses()
        with in_phase(Phase.FORWARD):
            loss = next(losses)

        def update(parameter: Tensor) -> None:
            with in_phase(Phase.UPDATE), torch.no_grad():
                step.update_one(parameter)  # type: ignore[arg-type]

        hooks = [p.register_post_accumulate_grad_hook(update) for p in step.parameters]
        try:
            with in_phase(Phase.BACKWARD):
                loss.backward()
        finally:
            for hook in hooks:
                hook.remove()
        value = loss.detach()
        del loss
        if next(losses, None) is not None:
            raise Incompatible("accumulate", "more than 1", "an update in backward drops each gradient at once")
        return value
