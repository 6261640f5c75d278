"""The forward gradient (Baydin et al., 2022): the exact slope along noise, by forward-mode differentiation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.engine.noise import Noise
from workbench.engine.tangent import Tangent
from workbench.parts.base import Step
from workbench.parts.estimator.along_noise import AlongNoise


@dataclass(frozen=True)
class ForwardGradient(AlongNoise):
    """One forward a probe that carries tangents: about twice the activations of inference, no step size to choose."""

    def slopes(self, step: Step, seeds: list[int]) -> tuple[Tensor, list[float]]:
        tangent = Tangent(step.parameters)
        total, slopes = torch.zeros(()), []
        for seed in seeds:
            value, slope = tangent.by(Noise([seed], [1.0], self.noise)).along(step.loss)
            slopes.append(float(slope))
            total = total + value.detach() / len(seeds)
        return total, slopes
