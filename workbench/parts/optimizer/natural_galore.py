"""Natural GaLore (2024): GaLore whose projected gradient is preconditioned by recent ones (an empirical Fisher)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.nn.subspace_optimizer import Build, Refresh, SubspaceOptimizer
from workbench.parts.optimizer import named

CHUNK = 8192  #: columns of the history that stand in float64 at one time


@dataclass(frozen=True)
class NaturalGaLore:
    """GaLore's state, and ``history`` projected gradients beside it: ``history`` x m x rank in float32.

    With the default of 20 that is ten times the two moments; the paper's own memory column leaves it out.
    """

    rank: int = 16
    interval: int = 200
    scale: float = 4.0
    inner: str = "adamw"
    refresh: Refresh = "iteration"
    history: int = 20
    damping: float = 1e-3

    def __post_init__(self) -> None:
        """Make the inner rule once: tables of a library that it imports are no part of any step."""
        named(self.inner)

    def build(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return NaturalSubspaceOptimizer(
            parameters, lr, named(self.inner).build, history=self.history, damping=self.damping,
            rank=self.rank, interval=self.interval, scale=self.scale, refresh=self.refresh,
        )  # fmt: skip


class NaturalSubspaceOptimizer(SubspaceOptimizer):
    """The projected gradient g becomes ``(I + H H^T / damping)^-1 g``, H the last projected gradients with g.

    That is the paper's ``(damping I + H H^T)^-1 g`` times the damping, a factor that Adam cancels and that lets large
    damping end in plain GaLore. A new basis turns the history into its coordinates (``new^T old``).
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], lr: float, build: Build, *, history: int, damping: float,
        **subspace: Any,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, build, **subspace)
        self.history, self.damping = history, damping

    def direction(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        newest = gradient.flatten().float()
        if "history" not in state:
            state["history"] = newest.new_zeros(self.history, newest.numel())
            state["products"] = torch.zeros(self.history, self.history, dtype=torch.float64)
        history, products = state["history"], state["products"]
        slot = state["step"] % self.history
        history[slot] = newest
        products[slot] = products[:, slot] = inner_products(history, newest[None])[:, 0]
        return natural(history, products, slot, self.damping).view_as(gradient).to(gradient.dtype)

    def rebase(self, state: dict[str, Any], basis: Tensor) -> None:
        if "history" in state:
            turn = state["basis"].float().T @ basis.float()
            for row in state["history"]:
                row.copy_((row.view(-1, len(turn)) @ turn).flatten())
            state["products"].copy_(inner_products(state["history"], state["history"]))
        super().rebase(state, basis)


def natural(history: Tensor, products: Tensor, slot: int, damping: float) -> Tensor:
    """``(I + H H^T / damping)^-1 g`` for the rows of ``history`` (count, n) as columns of H, g its row ``slot``.

    As g is one of them, Woodbury's identity leaves a weighted sum of the rows, ``H (I + H^T H / damping)^-1 e``,
    in which nothing cancels. ``products`` is ``H^T H`` (count, count) in float64.
    """
    chosen = torch.zeros(len(history), dtype=products.dtype)
    chosen[slot] = 1.0
    system = torch.eye(len(history), dtype=products.dtype).add_(products, alpha=1.0 / damping)
    # The variant that raises nothing: the system is positive definite, and a question about its values would end a
    # prediction.
    weights = torch.linalg.solve_ex(system, chosen).result
    return weights.to(history.dtype) @ history


def inner_products(rows: Tensor, others: Tensor) -> Tensor:
    """``rows`` (a, n) times ``others`` (b, n) as (a, b), in float64 a stretch at a time: rounding decides the solve."""
    found = torch.zeros(len(rows), len(others), dtype=torch.float64)
    for left, right in zip(rows.split(CHUNK, 1), others.split(CHUNK, 1), strict=True):
        found.addmm_(left.double(), right.double().T)
    return found


Rule = NaturalGaLore
