"""Stochastic gradient descent without state: the update rule that costs no memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SGD:
    """``w <- w - lr g``; no tensor is kept between steps."""

    adds: ClassVar[bool] = True

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=lr)

    def apply(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: Tensor) -> None:
        parameter.add_(gradient, alpha=-optimizer.param_groups[0]["lr"])


Rule = SGD
