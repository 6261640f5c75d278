"""What every estimator shares whose gradient is a slope times noise made again from its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.core.seeds import derive
from workbench.engine.noise import Noise, numbered
from workbench.parts.base import Step


@dataclass(frozen=True)
class AlongNoise:
    """The estimate is the mean over ``probes`` of ``slope(z) z``, z ~ N(0, I) or of plus and minus ones.

    z is made again from the step's seed wherever it is needed and never held for more than one tensor. The weights
    are written by the update only. Forwards run in evaluation mode (dropout off, norm statistics frozen). When a
    slope is not finite the weights stay as they are.
    """

    uses_backward: ClassVar[bool] = False

    probes: int = 1
    noise: str = "gaussian"

    def prepare(self, model: nn.Module) -> None:
        """Nothing to change."""

    def slopes(self, step: Step, seeds: list[int]) -> tuple[Tensor, list[float]]:
        """The step's loss, and the slope of the loss along the noise of each seed."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, step: Step) -> Tensor:
        # Only what is in training mode, and by hand: a library's way there and back visits every module twice.
        training = [module for module in step.model.modules() if module.training]
        for module in training:
            module.training = False
        try:
            seeds = [derive(step.seed, "probe", probe) for probe in range(self.probes)]
            with in_phase(Phase.FORWARD):
                loss, slopes = self.slopes(step, seeds)
            if all(map(math.isfinite, slopes)):
                with in_phase(Phase.UPDATE):
                    self._update(step, seeds, [slope / self.probes for slope in slopes])
            return loss
        finally:
            for module in training:
                module.training = True

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
