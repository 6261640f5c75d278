"""What every estimator shares whose gradient is a slope times noise made again from its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
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
class AlongNoise:
    """The estimate is the mean over ``probes`` of ``slope(z) z``, z ~ N(0, I) or of plus and minus ones.

    z is made again from the step's seed wherever it is needed and never held for more than one tensor. The weights
    are written by the update only. Forwards run in evaluation mode (dropout off, norm statistics frozen). When a
    slope is not finite the weights stay as they are and the loss given back is not finite either, so training stops.

    ``signed`` takes only the sign of each slope; the sign of each element of the estimate is a rule's matter
    (``optimizer=sign``). ``best_of_three`` is the conservative rule: the loss is also asked where the weights are,
    a step down the estimate and a step up, and the best of the three is kept.
    """

    uses_backward: ClassVar[bool] = False

    probes: int = 1
    noise: str = "gaussian"
    signed: bool = field(default=False, kw_only=True)
    best_of_three: bool = field(default=False, kw_only=True)

    def prepare(self, model: nn.Module) -> None:
        if self.probes < 1:
            raise Incompatible("probes", self.probes, "a gradient needs at least one probe")

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
            if not all(map(math.isfinite, (*slopes, float(loss)))):
                return torch.full_like(loss, math.nan)
            if self.signed:
                slopes = [math.copysign(1.0, slope) if slope else 0.0 for slope in slopes]
            slopes = [slope / self.probes for slope in slopes]
            if self.best_of_three:
                with in_phase(Phase.FORWARD):
                    slopes = self._best(step, seeds, slopes)
                if not any(slopes):
                    return loss
            with in_phase(Phase.UPDATE):  # also with a slope of zero: rules with state have it from the first step on
                self._update(step, seeds, slopes)
            return loss
        finally:
            for module in training:
                module.training = True

    def _best(self, step: Step, seeds: list[int], slopes: list[float]) -> list[float]:
        """The slopes, their opposites, or zeros: whichever leads to the least loss of this batch.

        The copies that the loss is asked of have the bits that the update will write.
        """
        if not step.rule_adds:
            raise Incompatible("accept", "best-of-three", "the rule must only add, so that its step can be tried: sgd")
        perturbed, found = Perturbed(step.parameters), {}
        for sign in (1.0, -1.0):
            scales = [-sign * step.lr * slope for slope in slopes]
            with perturbed.by(Noise(seeds, scales, self.noise)):
                found[sign] = float(step.loss())
        found[0.0] = float(step.loss())
        best = min(found, key=lambda sign: found[sign] if math.isfinite(found[sign]) else math.inf)
        return [best * slope for slope in slopes]

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
        """Let the step's observer, if there is one, see each parameter with its estimate.

        The step itself never holds one. It lies in numpy's memory, because who watches must not use up the budget.
        """
        if step.observer is None:
            return
        for index, parameter in enumerate(step.parameters):
            memory = torch.from_numpy(np.zeros(parameter.nbytes, np.uint8)).view(parameter.dtype)
            shown = memory.as_strided(parameter.shape, parameter.stride())
            estimate.add_([shown], numbered([index]))
            parameter.grad = shown
            step.observer(parameter)
            parameter.grad = None
