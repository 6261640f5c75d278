"""LARS: plain descent whose rate in each tensor is a share of the tensor's norm (You, Gitman and Ginsburg, 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

TRUST = 1e-2  #: share of a tensor's norm that one step at rate 1 moves


class LayerwiseDescent(torch.optim.Optimizer):
    """``w <- w - lr trust |w| / |g| g``; a tensor that is all zeros moves as if its norm were 1. No state is kept."""

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, trust: float) -> None:
        super().__init__(parameters, {"lr": lr, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                norm = torch.linalg.vector_norm(parameter)
                norm = torch.where(norm > 0, norm, torch.ones_like(norm))
                ratio = norm / torch.linalg.vector_norm(parameter.grad).clamp_(min=1e-12)
                step = parameter.grad * ratio.mul_(group["trust"])
                parameter.sub_(step.mul_(group["lr"]))


@dataclass(frozen=True)
class LARS:
    """The rate of every tensor follows its weight-to-gradient norm."""

    trust: float = TRUST

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return LayerwiseDescent(parameters, lr, self.trust)


Rule = LARS
