"""First-order gradients for the deepest blocks, slopes along noise for everything below them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.models.structure import upper
from workbench.parts.base import Step
from workbench.parts.estimator.along_noise import AlongNoise
from workbench.parts.estimator.backprop import Backprop
from workbench.parts.estimator.part_of_step import PartOfStep


@dataclass(frozen=True)
class Hybrid:
    """The lower part is updated by ``inner``, then the upper ``top`` blocks and the head by backpropagation.

    While the upper part has its backward pass the lower one asks for no gradient, so only activations of the upper
    blocks are kept. Costs a forward and a short backward more than ``inner``.
    """

    uses_backward: ClassVar[bool] = True

    inner: AlongNoise
    top: int

    def prepare(self, model: nn.Module) -> None:
        self.inner.prepare(model)
        above = upper(model, self.top, "backprop_blocks")
        trained = [p for p in model.parameters() if p.requires_grad]
        if not any(id(p) in above for p in trained) or all(id(p) in above for p in trained):
            reason = "what is trained must lie partly inside and partly below these blocks"
            raise Incompatible("backprop_blocks", self.top, reason)

    def step(self, step: Step) -> Tensor:
        above = upper(step.model, self.top, "backprop_blocks")
        below = [p for p in step.parameters if id(p) not in above]
        loss = self.inner.step(PartOfStep(step, below, step.seed))  # type: ignore[arg-type]
        if not math.isfinite(float(loss)):
            return loss
        for parameter in below:
            parameter.requires_grad_(False)
        try:
            over = [p for p in step.parameters if id(p) in above]
            return Backprop().step(PartOfStep(step, over, step.seed))  # type: ignore[arg-type]
        finally:
            for parameter in below:
                parameter.requires_grad_(True)
