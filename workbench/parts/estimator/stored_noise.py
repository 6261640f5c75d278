"""Slopes along noise that is kept: the lazy variant, beside which drawing it anew from its seed shows what it saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.seeds import derive
from workbench.engine.noise import Noise, numbered
from workbench.parts.base import Step
from workbench.parts.estimator.zeroth_order import ZerothOrder


@dataclass(frozen=True)
class StoredNoise(ZerothOrder):
    """The two-sided slope with all of a step's noise in memory, and a walk +eps, -2 eps, +eps over the weights.

    Costs as many bytes as the trained weights for each probe, and rounds the weights (see ``workbench.lens.drift``).
    With ``share`` below 1 a mask of so many elements is drawn, kept beside the noise and multiplied with it: as many
    random numbers as ever, and a byte more for every weight.
    """

    share: float = 1.0
    kept: list[list[Tensor]] = field(default_factory=list, compare=False, repr=False)
    masks: list[Tensor] = field(default_factory=list, compare=False, repr=False)

    def prepare(self, model: nn.Module) -> None:
        super().prepare(model)
        if not 0 < self.share <= 1:
            raise Incompatible("share", self.share, "a share of the elements lies above 0 and is at most 1")

    def slopes(self, step: Step, seeds: list[int]) -> tuple[Tensor, list[float]]:
        weights, eps = step.parameters, self.eps
        self.masks[:] = self._masks(step) if self.share < 1 else ()
        self.kept[:] = [[Noise([s], [1.0], self.noise).like(w, numbered([i])) for i, w in enumerate(weights)]
                        for s in seeds]  # fmt: skip
        total, slopes = torch.zeros(()), []
        for noise in self.kept:
            for z, mask in zip(noise, self.masks):
                z.mul_(mask)
            _walked(weights, noise, eps)
            plus = step.loss()
            _walked(weights, noise, -2 * eps)
            minus = step.loss()
            _walked(weights, noise, eps)
            slopes.append(float(plus - minus) / (2 * eps))
            total = total + (plus + minus) / (2 * len(seeds))
        return total, slopes

    def _masks(self, step: Step) -> Iterator[Tensor]:
        numbers = torch.Generator().manual_seed(derive(step.seed, "mask"))
        for weight in step.parameters:
            yield torch.empty_like(weight, dtype=torch.bool).bernoulli_(self.share, generator=numbers)

    def _update(self, step: Step, seeds: list[int], slopes: list[float]) -> None:
        first, *others = self.kept
        for index, parameter in enumerate(step.parameters):
            parameter.grad = first[index].mul_(slopes[0])
            for slope, noise in zip(slopes[1:], others):
                parameter.grad.add_(noise[index], alpha=slope)
            step.update_one(parameter)
        self.kept.clear()
        self.masks.clear()


def _walked(weights: list[nn.Parameter], noise: list[Tensor], scale: float) -> None:
    for weight, z in zip(weights, noise):
        weight.add_(z, alpha=scale)
