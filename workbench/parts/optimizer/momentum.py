"""Stochastic gradient descent with momentum: one state tensor per trained tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Momentum:
    """``m <- momentum m + g; w <- w - lr m``."""

    momentum: float = 0.9

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=lr, momentum=self.momentum)

    def apply(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: Tensor) -> None:
        buffer = optimizer.state[parameter]["momentum_buffer"]
        buffer.mul_(self.momentum).add_(gradient)
        parameter.add_(buffer, alpha=-optimizer.param_groups[0]["lr"])


Rule = Momentum
