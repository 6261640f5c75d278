"""GaLore (Zhao et al., 2024): another rule's state, kept in a low-rank subspace of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from workbench.nn.subspace_optimizer import Refresh, SubspaceOptimizer
from workbench.parts.optimizer import named


@dataclass(frozen=True)
class GaLore:
    """State of an m x n matrix, m >= n: two moments of m x rank and a basis of n x rank, instead of two of m x n.

    The gradient itself stays whole, unless updates run inside backward. ``refresh="svd"`` is the paper's projector.
    """

    rank: int = 16
    interval: int = 200
    scale: float = 4.0
    inner: str = "adamw"
    refresh: Refresh = "iteration"

    def __post_init__(self) -> None:
        """Make the inner rule once: tables of a library that it imports are no part of any step."""
        named(self.inner)

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return SubspaceOptimizer(
            parameters, lr, named(self.inner).build,
            rank=self.rank, interval=self.interval, scale=self.scale, refresh=self.refresh,
        )  # fmt: skip


Rule = GaLore
