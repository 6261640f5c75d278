"""Two-sided simultaneous perturbation (SPSA) as in MeZO (Malladi et al., 2023): two forwards, no backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.core.seeds import derive
from workbench.parts.base import Step


@dataclass(frozen=True)
class ZerothOrder:
    """Projected gradient ``g = (f(w + eps z) - f(w - eps z)) / 2 eps``, estimate ``g z``, z ~ N(0, I).

    z is regenerated from the step's seed, tensor by tensor, and never held for more than one tensor. The
    forwards run in evaluation mode (dropout off, norm statistics frozen). The walk +eps, -2 eps, +eps
    restores weights to fp32 rounding only.
    """

    uses_backward: ClassVar[bool] = False

    eps: float = 1e-3
    probes: int = 1

    def prepare(self, model: nn.Module) -> None:
        if self.eps <= 0:
            raise Incompatible("mezo.eps", self.eps, "a perturbation must be larger than 0")

    @torch.no_grad()
    def step(self, step: Step) -> Tensor:
        was_training = step.model.training
        step.model.eval()
        try:
            total = torch.zeros(())
            slopes: list[tuple[int, float]] = []
            for probe in range(self.probes):
                seed = derive(step.seed, "probe", probe)
                with in_phase(Phase.FORWARD):
                    perturb(step.parameters, seed, self.eps)
                    plus = step.loss()
                    perturb(step.parameters, seed, -2 * self.eps)
                    minus = step.loss()
                    perturb(step.parameters, seed, self.eps)
                slopes.append((seed, float(plus - minus) / (2 * self.eps)))
                total = total + (plus + minus) / (2 * self.probes)
            with in_phase(Phase.UPDATE):
                self._update(step, slopes)
            return total
        finally:
            step.model.train(was_training)

    def _update(self, step: Step, slopes: list[tuple[int, float]]) -> None:
        """Give each parameter its estimate and update it before the next one is drawn."""
        for index, parameter in enumerate(step.parameters):
            for seed, slope in slopes:
                estimate = noise(parameter, seed, index).mul_(slope / len(slopes))
                parameter.grad = estimate if parameter.grad is None else parameter.grad.add_(estimate)
                del estimate
            step.update_one(parameter)


def noise(parameter: Tensor, seed: int, index: int) -> Tensor:
    """The perturbation of the ``index``-th tensor for this seed; the same numbers whatever the visiting order."""
    generator = torch.Generator().manual_seed(derive(seed, index))
    return torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype, device=parameter.device)


def perturb(parameters: list[nn.Parameter], seed: int, scale: float) -> None:
    """Add ``scale`` times the regenerated perturbation to every parameter in place."""
    for index, parameter in enumerate(parameters):
        parameter.add_(noise(parameter, seed, index), alpha=scale)
