"""Activation checkpointing (Chen et al., 2016): keep block inputs, recompute the rest in backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from workbench.core.errors import Incompatible
from workbench.models.structure import blocks


@dataclass(frozen=True)
class Recomputed:
    """Recompute every ``every``-th block in backward (1: all of them). Costs up to one more forward.

    ``first`` leaves all but that many blocks at the front alone. The front ones are the ones to take: backward
    begins at the end, where the highest point is, and while a front block is made again those behind are gone.
    """

    every: int = 1
    first: int | None = None

    def encode(self, model: nn.Module) -> nn.Module:
        found = blocks(model)
        if not found:
            raise Incompatible("recompute", self.every, "the model has no repeated blocks to recompute")
        if any(isinstance(m, _BatchNorm) for _, block in found for m in block.modules()):
            reason = "recomputing a block would update its batch-norm statistics twice"
            raise Incompatible("recompute", self.every, reason)
        for index, (_, block) in enumerate(found[: self.first]):
            if index % self.every == 0:
                _recompute(block)
        return model


def _recompute(block: nn.Module) -> None:
    original = block.forward

    def forward(*args: object, **kwargs: object) -> object:
        if not torch.is_grad_enabled():
            return original(*args, **kwargs)
        return checkpoint(original, *args, use_reentrant=False, **kwargs)

    block.forward = forward  # type: ignore[method-assign]
