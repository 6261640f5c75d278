"""Two-sided simultaneous perturbation (SPSA) as in MeZO (Malladi et al., 2023): two forwards, no backward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.core.seeds import derive
from workbench.engine.noise import Noise, numbered
from workbench.engine.perturbed import Perturbed
from workbench.parts.base import Step


@dataclass(frozen=True)
class ZerothOrder:
    """Projected gradient ``g = (f(w + eps z) - f(w - eps z)) / 2 eps``, estimate ``g z``.

    z ~ N(0, I), or of plus and minus ones with ``noise="sign"`` (another estimator: E|g z|^2 is d |g|^2 instead of
    (d + 2) |g|^2). It is made again from the step's seed wherever it is needed and never held for more than one
    tensor. The forwards see perturbed copies of a layer's weights, so the weights themselves are only ever written
    by the update; a walk +eps, -2 eps, +eps in place would leave them rounded. Forwards run in evaluation mode
    (dropout off, norm statistics frozen).
    """

    uses_backward: ClassVar[bool] = False

    eps: float = 1e-3
    probes: int = 1
    noise: str = "gaussian"

    def prepare(self, model: nn.Module) -> None:
        if self.eps <= 0:
            raise Incompatible("mezo.eps", self.eps, "a perturbation must be larger than 0")

    @torch.no_grad()
    def step(self, step: Step) -> Tensor:
        was_training = step.model.training
        step.model.eval()
        try:
            total = torch.zeros(())
            seeds, slopes = [], []
            perturbed = Perturbed(step.parameters)
            for probe in range(self.probes):
                seed = derive(step.seed, "probe", probe)
                with in_phase(Phase.FORWARD):
                    plus = self._loss(step, perturbed, seed, self.eps)
                    minus = self._loss(step, perturbed, seed, -self.eps)
                seeds.append(seed)
                slopes.append(float(plus - minus) / (2 * self.eps))
                total = total + (plus + minus) / (2 * self.probes)
            del perturbed  # and its memory
            if all(map(math.isfinite, slopes)):  # else the weights stay the last ones with a finite loss
                with in_phase(Phase.UPDATE):
                    self._update(step, seeds, [slope / self.probes for slope in slopes])
            return total
        finally:
            step.model.train(was_training)

    def _loss(self, step: Step, perturbed: Perturbed, seed: int, scale: float) -> Tensor:
        with perturbed.by(Noise([seed], [scale], self.noise)):
            return step.loss()

    def _update(self, step: Step, seeds: list[int], slopes: list[float]) -> None:
        """Give each parameter its estimate and update it before the next one is drawn.

        A rule that only adds needs no estimate: the noise goes to all weights at once, in one pass.
        """
        estimate = Noise(seeds, slopes, self.noise)
        if step.rule_adds:
            self._show(step, estimate)
            scales = [-step.lr * slope for slope in slopes]
            Noise(seeds, scales, self.noise).add_(step.parameters, numbered(range(len(step.parameters))))
            if step.journal is not None:
                step.journal.write(seeds, scales)
            return
        for index, parameter in enumerate(step.parameters):
            parameter.grad = estimate.like(parameter, numbered([index]))
            step.update_one(parameter)

    @staticmethod
    def _show(step: Step, estimate: Noise) -> None:
        """Let the step's observer, if there is one, see each parameter with its estimate."""
        if step.observer is None:
            return
        for index, parameter in enumerate(step.parameters):
            parameter.grad = estimate.like(parameter, numbered([index]))
            step.observer(parameter)
            parameter.grad = None
