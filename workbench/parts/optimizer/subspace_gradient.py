"""Subspace gradient (ZOODiP, 2025): directions in which a tensor has hardly moved are taken out of its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from workbench.nn.token_history import TokenHistory
from workbench.parts.base import Optimizer
from workbench.parts.optimizer.adamw import AdamW


@dataclass(frozen=True)
class SubspaceGradient:
    """For a tensor of few numbers, such as a token: its path takes ``interval`` times its bytes, and the directions
    as much again. ``share`` is the share of the path's variance that is taken to be noise; 0 removes nothing."""

    interval: int = 128
    share: float = 1e-3
    probes: int = 1
    inner: Optimizer = field(default_factory=AdamW)

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return TokenHistory(
            parameters, lr, self.inner.build, interval=self.interval, share=self.share, probes=self.probes
        )


Rule = SubspaceGradient
