"""AdamW (Loshchilov and Hutter, 2019): two state tensors per trained tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AdamW:
    """torch's fused CPU kernel: no temporaries, and much faster than the default loop at small batches."""

    weight_decay: float = 0.01

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=self.weight_decay, fused=True)


Rule = AdamW
