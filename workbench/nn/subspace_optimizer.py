"""A torch optimizer that runs another one on gradients projected into a small subspace (Zhao et al., GaLore, 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workbench.nn.gradient_subspace import decomposed, iterated, order_in_memory, started, tall

Refresh = Literal["iteration", "svd"]
Build = Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer]

#: The basis is refreshed at each of these first steps. The gradient turns fastest there, and the step that is predicted
#: and measured (the second or third) is then one that refreshes: no later step needs more memory.
OPENING = 3


class SubspaceOptimizer(torch.optim.Optimizer):
    """``R = G Q``; the inner rule makes a change of R's shape; ``W <- W + scale * change Q^T``.

    Q is refreshed every ``interval`` steps (and at each of the first three) by one warm-started subspace iteration or
    by a full SVD; the inner rule's state is kept as it is across a refresh, as the paper does. Tensors of more than
    two dimensions are taken as (out, everything else). Vectors, and matrices whose shorter side is not above ``rank``,
    are left to the inner rule itself. ``state[parameter]`` holds ``basis`` (shorter side, rank) and the inner rule's
    tensors under ``inner``; all of it in the dtype of the weights.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], lr: float, build: Build, *, rank: int, interval: int, scale: float,
        refresh: Refresh = "iteration",
    ) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr})
        self.rank, self.interval, self.scale, self.refresh = rank, interval, scale, refresh
        orders = {p: order_in_memory(p) for p in self.param_groups[0]["params"]}
        self._orders = {p: o for p, o in orders.items() if p.ndim > 1 and min(tall(p, o).shape) > rank}
        plain = [p for p in orders if p not in self._orders]
        self._plain = build(plain, lr) if plain else None
        # One inner optimizer serves every projected tensor in turn; its state is lent to it for the moment.
        self._inside = build([nn.Parameter(torch.empty(0))], lr) if self._orders else None
        if self._plain is not None:
            self._plain.state = self.state  # what is not projected keeps its state where it would be without projection
        self.tables = tables_of(self._plain, self._inside)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for inner in (self._plain, self._inside):
            if inner is not None:
                inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        if self._plain is not None:
            self._plain.step()
        for parameter, order in self._orders.items():
            if parameter.grad is not None:
                self._update(parameter, tall(parameter.grad, order), order)

    def _update(self, parameter: nn.Parameter, gradient: Tensor, order: tuple[int, ...]) -> None:
        state = self.state[parameter]
        count = state.setdefault("step", 0)
        if count < OPENING or count % self.interval == 0:
            self.rebase(state, self._refreshed(gradient, state.get("basis")))
        direction = self.direction(gradient @ state["basis"], state)
        change, kept = self._changed(direction, state.setdefault("inner", {}))
        tall(parameter, order).addmm_(change, state["basis"].T, beta=kept, alpha=self.scale)
        state["step"] = count + 1

    def _refreshed(self, gradient: Tensor, basis: Tensor | None) -> Tensor:
        if self.refresh == "svd":
            return decomposed(gradient, self.rank)
        return started(gradient, self.rank) if basis is None else iterated(gradient, basis)

    def _changed(self, direction: Tensor, state: dict[str, Any]) -> tuple[Tensor, float]:
        """What the inner rule adds to a tensor of zeros with this gradient, and the share of the weight that its
        decoupled decay would keep."""
        assert self._inside is not None
        group = self._inside.param_groups[0]
        change = nn.Parameter(torch.zeros_like(direction))
        change.grad = direction
        group["params"] = [change]
        self._inside.state = defaultdict(dict, {change: state})
        self._inside.step()
        group["params"], self._inside.state = [], defaultdict(dict)
        return change.detach(), 1.0 - group["lr"] * group.get("weight_decay", 0.0)

    def rebase(self, state: dict[str, Any], basis: Tensor) -> None:
        """Take another basis; what is written in the old one's coordinates stays as it is."""
        state["basis"] = basis

    def direction(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        """The projected gradient (rows, rank) as the inner rule is to see it."""
        return gradient


def tables_of(*rules: torch.optim.Optimizer | None) -> dict[tuple[int, Any], Tensor]:
    """Tensors that a library's optimizer keeps beside its state (quantization maps), for whoever counts bytes."""
    found = {}
    for index, rule in enumerate(rules):
        named = [v for k, v in vars(rule).items() if isinstance(v, dict) and k != "state"] if rule else []
        found |= {(index, k): t for held in named for k, t in held.items() if isinstance(t, Tensor)}
    return found
