"""Small steps that perturb weights on the way, timed so that a calibration learns what that costs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from workbench.core.phase import in_phase
from workbench.core.profile import Phase
from workbench.devices.call_costs import Loss, TimedStep, small_models
from workbench.devices.pace import step_clock
from workbench.engine.noise import Noise
from workbench.engine.perturbed import Perturbed


class PerturbedStep:
    """Two forwards, with noise added to every weight and taken from it, and no backward pass."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self.loss, self.mode = loss, Perturbed(list(module.parameters()))

    @torch.no_grad()
    def __call__(self) -> dict[str, float]:
        """Seconds of each phase."""
        clock = step_clock()
        start = clock()
        with in_phase(Phase.FORWARD):
            for scale in (1e-3, -1e-3):
                with self.mode.by(Noise([1], [scale])):
                    self.loss()
        return {"forward": clock() - start, "backward": 0.0, "update": 0.0}


def perturbed_steps(quick: bool) -> Iterator[TimedStep]:
    """Steps for :func:`workbench.devices.calibrate.calibrate`."""
    yield from (PerturbedStep(*small) for small in small_models(quick))
