"""Ordinary backpropagation through the whole graph that the selection leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.parts.base import Step


@dataclass(frozen=True)
class Backprop:
    """Forward, backward, update; gradients of micro-batches accumulate."""

    uses_backward: ClassVar[bool] = True
    gives_up: ClassVar[bool] = True

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change."""

    def step(self, step: Step) -> Tensor:
        total = torch.zeros(())
        losses = step.losses()
        while True:
            with in_phase(Phase.FORWARD):
                loss = next(losses, None)
            if loss is None:
                break
            with in_phase(Phase.BACKWARD):
                loss.backward()
            total = total + loss.detach()
            # The graph's last reference: dropped before the update, or its tensors would live through it.
            del loss
        with in_phase(Phase.UPDATE):
            step.update()
        return total
