"""The forward gradient (Baydin et al., 2022): the exact slope along noise, by forward-mode differentiation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from workbench.core.errors import Incompatible
from workbench.engine.noise import Noise
from workbench.engine.tangent import Tangent
from workbench.memory.dataless import known
from workbench.parts.base import Step
from workbench.parts.estimator.along_noise import AlongNoise


@dataclass(frozen=True)
class ForwardGradient(AlongNoise):
    """One forward a probe that carries tangents: about twice the activations of inference, no step size to choose."""

    def slopes(self, step: Step, seeds: list[int]) -> tuple[Tensor, list[float]]:
        _refuse_prediction(step)
        tangent = Tangent(step.parameters)
        total, slopes = torch.zeros(()), []
        for seed in seeds:
            value, slope = tangent.by(Noise([seed], [1.0], self.noise)).along(step.loss)
            slopes.append(float(slope))
            total = total + value.detach() / len(seeds)
        return total, slopes


def _refuse_prediction(step: Step) -> None:
    """Where a norm's statistics move or a frozen branch has no tangent, torch adds tangents in place, but only where
    nobody watches; predictions came out up to 25 % high there."""
    if all(map(known, step.model.parameters())):
        return
    moving = any(isinstance(module, _BatchNorm) for module in step.model.modules())
    if moving or not all(p.requires_grad for p in step.model.parameters()):
        reason = "forward derivatives of batch norms and frozen parts need other bytes when watched; measure it instead"
        raise Incompatible("prediction", "gradient=forward", reason)
