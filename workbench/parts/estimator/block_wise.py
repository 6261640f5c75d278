"""Slopes along noise in one block at a time (block coordinate descent without gradients)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from workbench.core.errors import Incompatible
from workbench.core.seeds import derive
from workbench.models.structure import blocks
from workbench.parts.base import Step
from workbench.parts.estimator.along_noise import AlongNoise
from workbench.parts.estimator.part_of_step import PartOfStep


@dataclass(frozen=True)
class BlockWise:
    """``inner`` for each block in turn, which is updated before the next is perturbed; last, what is in no block.

    The estimate of a block has the variance of its own dimension, for as many forwards as there are blocks more.
    The loss given back is the one before the first update.
    """

    uses_backward: ClassVar[bool] = False

    inner: AlongNoise

    def prepare(self, model: nn.Module) -> None:
        self.inner.prepare(model)
        if not blocks(model):
            raise Incompatible("scope", "block-wise", "this model has no repeated blocks")

    def step(self, step: Step) -> Tensor:
        first: Tensor | None = None
        for number, group in enumerate(groups(step.model, step.parameters)):
            loss = self.inner.step(PartOfStep(step, group, derive(step.seed, "block", number)))  # type: ignore[arg-type]
            first = loss if first is None else first
            if not math.isfinite(float(loss)):
                return loss
        assert first is not None
        return first


def groups(model: nn.Module, parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The parameters of each block, in forward order, then the rest; every parameter once, no group empty."""
    left = dict.fromkeys(parameters)
    found = []
    for _, block in blocks(model):
        found.append([p for p in block.parameters() if p in left])
        for parameter in found[-1]:
            left.pop(parameter)
    return [group for group in (*found, list(left)) if group]
