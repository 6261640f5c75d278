"""Keep no input for convolutions whose weight does not train."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.lean_frozen import freeze_convolution


@dataclass(frozen=True)
class LeanFrozen:
    """Exact gradients. Stock autograd keeps these inputs although no gradient of the step reads them."""

    def encode(self, model: nn.Module) -> nn.Module:
        frozen = [
            module
            for module in model.modules()
            if type(module) is nn.Conv2d
            and not module.weight.requires_grad
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        ]
        if not frozen:
            raise Incompatible("lean_frozen", True, "the model has no frozen two-dimensional convolution")
        for module in frozen:
            freeze_convolution(module)
        return model
