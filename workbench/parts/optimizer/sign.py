"""Signs of the gradient (signSGD; Bernstein et al., 2018): every element moves by the rate, none by more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


class _Signs(torch.optim.Optimizer):
    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad.sign_(), alpha=-group["lr"])  # the gradient is dropped after it


@dataclass(frozen=True)
class SignSGD:
    """``w <- w - lr sign(g)``; no tensor is kept between steps."""

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return _Signs(parameters, lr)


Rule = SignSGD
