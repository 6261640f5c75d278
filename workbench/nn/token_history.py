"""A torch optimizer that takes the quiet directions of a tensor's own path out of its gradients (ZOODiP, 2025).

The estimate of a gradient by differences is mostly noise. Where a tensor has hardly moved lately is taken to be noise
as well: the path's directions of least variance, found every so many steps, are removed from later gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.phase import is_at_its_most, seldom
from workbench.nn.subspace_optimizer import tables_of

Build = Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer]


def quiet_directions(path: Tensor, share: float) -> Tensor:
    """Rows (steps, numbers), orthonormal or zero: components of the standardised ``path`` (steps, numbers) behind the
    one at which the explained variance passes ``1 - share``.

    They are computed from standardised values and used on plain ones, as the authors' code does.
    """
    centred = path - path.mean(0)
    deviation = centred.square().mean(0).sqrt()
    centred /= torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    explained = values.square().cumsum(0)
    passed = explained > (1 - share) * explained[-1]
    behind = passed.cumsum(0) > 1  # the component that passes stays
    full = torch.zeros_like(path)
    full[: len(directions)] = directions * behind[:, None]
    return full


class TokenHistory(torch.optim.Optimizer):
    """``g <- g / sqrt((d' + q - 1) / q)``, ``g <- g - g E^T E``, then the inner rule; d' numbers are left by E.

    The scale makes the estimate from ``probes`` slopes as long as the gradient. ``state[parameter]`` holds, beside
    what the inner rule keeps, ``path``, a ring of the last ``interval`` values, and ``quiet``, room for as many
    directions (rows of zeros: none), both float32.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], lr: float, build: Build, *, interval: int, share: float, probes: int
    ) -> None:
        super().__init__(parameters, {"lr": lr})
        self.interval, self.share, self.probes = interval, share, probes
        self._inner = build(self.param_groups[0]["params"], lr)
        self._inner.state = self.state  # one state, so that it is counted and resumed as one
        self.tables = tables_of(self._inner)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        moved = [p for p in group["params"] if p.grad is not None]
        for parameter in moved:
            self._denoise(parameter)
        self._inner.param_groups[0].update(lr=group["lr"], params=group["params"])
        self._inner.step()
        for parameter in moved:
            self._remember(parameter)

    def _denoise(self, parameter: nn.Parameter) -> None:
        quiet, gradient = self.state[parameter].get("quiet"), parameter.grad
        assert gradient is not None
        removed = torch.zeros(()) if quiet is None else quiet.square().sum().round()
        gradient.div_(((parameter.numel() - removed + self.probes - 1) / self.probes).sqrt())
        if quiet is not None:
            flat = gradient.view(-1)
            flat.sub_((quiet @ flat.float()) @ quiet)

    def _remember(self, parameter: nn.Parameter) -> None:
        """After the inner rule, which takes an empty state for its own beginning."""
        state: dict[str, Any] = self.state[parameter]
        if "path" not in state:
            room = (self.interval, parameter.numel())
            state |= {"path": torch.zeros(room), "quiet": torch.zeros(room), "count": 0}
        state["path"][state["count"] % self.interval] = parameter.detach().view(-1)
        state["count"] += 1
        due = state["count"] % self.interval == 0
        if due or is_at_its_most():
            with seldom():
                found = quiet_directions(state["path"], self.share)
            if due:
                state["quiet"].copy_(found)
