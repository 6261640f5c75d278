"""Activation checkpointing (Chen et al., 2016): keep block inputs, recompute the rest in backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from workbench.core.errors import Incompatible
from workbench.models.structure import blocks
from workbench.parts.estimator.backprop import Backprop


@dataclass(frozen=True)
class Checkpointed(Backprop):
    """Recompute every ``every``-th block in backward (1: all of them). Costs up to one more forward."""

    every: int = 1

    def prepare(self, model: nn.Module) -> None:
        found = blocks(model)
        if not found:
            raise Incompatible("method", "checkpointing", "the model has no repeated blocks to recompute")
        for index, (_, block) in enumerate(found):
            if index % self.every == 0:
                _recompute(block)


def _recompute(block: nn.Module) -> None:
    original = block.forward

    def forward(*args: object, **kwargs: object) -> object:
        if not torch.is_grad_enabled():
            return original(*args, **kwargs)
        return checkpoint(original, *args, use_reentrant=False, **kwargs)

    block.forward = forward  # type: ignore[method-assign]
