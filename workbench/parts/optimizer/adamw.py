"""AdamW (Loshchilov and Hutter, 2019): two state tensors per trained tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AdamW:
    """torch's fused CPU kernel: no temporaries, and much faster than the default loop at small batches."""

    weight_decay: float = 0.01
    eps: float = 1e-8

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=self.weight_decay, eps=self.eps, fused=True)

    def apply(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradient: Tensor) -> None:
        """The kernel itself; unlike the optimizer around it, it does not count the steps."""
        state, group = optimizer.state[parameter], optimizer.param_groups[0]
        state["step"].add_(1)
        torch._fused_adamw_(
            [parameter], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
            lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=group["weight_decay"],
            eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip


Rule = AdamW
