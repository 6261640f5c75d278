"""Keep one bit per element for the activations of what trains: ReLU, ReLU6 and hard-swish (MobileTL)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.models.structure import blocks
from workbench.nn.bit_masks import adopt
from workbench.nn.lean_frozen import gate_hardswish


@dataclass(frozen=True)
class GatedActivations:
    """Exact for ReLU and ReLU6; the derivative of hard-swish becomes a step at ``threshold``.

    Acts in blocks of which something trains. Elsewhere autograd keeps nothing, or (behind the last block) an
    approximate derivative would stand in the way of every gradient.
    """

    threshold: float = 0.0

    def encode(self, model: nn.Module) -> nn.Module:
        trained = [block for _, block in blocks(model) if any(p.requires_grad for p in block.parameters())]
        for module in (m for block in trained for m in block.modules()):
            if type(module) is nn.Hardswish:
                gate_hardswish(module, self.threshold)
            else:
                adopt(module)
        return model
