"""Keep one bit per element for ReLU, ReLU6 and dropout instead of a float."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.bit_masks import adopt


@dataclass(frozen=True)
class BitMasks:
    """Exact gradients. Pays for ReLU6 and dropout; ReLU's output is often kept by the next layer anyway."""

    def encode(self, model: nn.Module) -> nn.Module:
        if not sum([adopt(module) for module in model.modules()]):
            raise Incompatible("bit_masks", True, "the model has no ReLU, ReLU6 or active dropout layer")
        return model
