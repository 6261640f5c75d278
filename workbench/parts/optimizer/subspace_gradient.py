"""Subspace gradient (ZOODiP, 2025): directions in which a tensor has hardly moved are taken out of its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from workbench.nn.token_history import TokenHistory
from workbench.parts.base import Optimizer
from workbench.parts.optimizer import named


@dataclass(frozen=True)
class SubspaceGradient:
    """For a tensor of few numbers, such as a token: its path takes ``interval`` times its bytes, and the directions
    as much again. ``share`` is the share of the path's variance that is taken to be noise; 0 removes nothing."""

    interval: int = 128
    share: float = 1e-3
    probes: int = 1
    inner: Optimizer | None = None  #: AdamW with its defaults where none is given

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        inner = self.inner or named("adamw")
        return TokenHistory(parameters, lr, inner.build, interval=self.interval, share=self.share, probes=self.probes)


Rule = SubspaceGradient
