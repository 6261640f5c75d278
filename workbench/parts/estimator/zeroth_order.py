"""Simultaneous perturbation (SPSA; Spall, 1992) as in MeZO (Malladi et al., 2023): forwards only, no backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.engine.noise import Noise
from workbench.engine.perturbed import Perturbed
from workbench.parts.base import Step
from workbench.parts.estimator.along_noise import AlongNoise


@dataclass(frozen=True)
class ZerothOrder(AlongNoise):
    """Slope ``(f(w + eps z) - f(w - eps z)) / 2 eps``, two forwards a probe; or ``(f(w + eps z) - f(w)) / eps``.

    The one-sided slope takes one forward a probe and one for all of them; its error is of first order in ``eps``.
    With standard normal z, E|slope z|^2 is (d + 2) |g|^2 for small eps; with signs it is d |g|^2.

    The forwards see perturbed copies of a layer's weights. A walk +eps, -2 eps, +eps in place would draw the noise
    once more and leave the weights rounded.
    """

    eps: float = 1e-3
    two_sided: bool = True

    def prepare(self, model: nn.Module) -> None:
        super().prepare(model)
        if not self.eps > 0:
            raise Incompatible("perturbation", self.eps, "a perturbation must be larger than 0")

    def slopes(self, step: Step, seeds: list[int]) -> tuple[Tensor, list[float]]:
        perturbed = Perturbed(step.parameters)

        def at(seed: int, scale: float) -> Tensor:
            with perturbed.by(Noise([seed], [scale], self.noise)):
                return step.loss()

        if not self.two_sided:
            here = step.loss()
            return here, [float(at(seed, self.eps) - here) / self.eps for seed in seeds]
        total, slopes = torch.zeros(()), []
        for seed in seeds:
            plus, minus = at(seed, self.eps), at(seed, -self.eps)
            slopes.append(float(plus - minus) / (2 * self.eps))
            total = total + (plus + minus) / (2 * len(seeds))
        return total, slopes
