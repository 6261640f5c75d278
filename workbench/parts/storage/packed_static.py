"""Keep in few bits what a transformer's backward pass reads anyway: GELU, attention, norms, a wide input (SlimFit)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.structure import blocks, role
from workbench.nn.lean_transformer import PACKED, ByteLinear, PackedGELU, PrunedLayerNorm, make_known


@dataclass(frozen=True)
class PackedStatic:
    """Exact forward passes, approximate gradients. Norms whose scale is frozen keep a share ``keep`` of their values.

    A layer's class is changed once; whether it packs, prunes or drops is decided at each forward pass by what trains.
    """

    keep: float = 0.1
    asked: tuple[str, Any] = ("packed", True)  #: the setting that asked for it, for refusals

    def encode(self, model: nn.Module) -> nn.Module:
        from transformers import PreTrainedModel
        from transformers.activations import GELUActivation

        packed = 0
        for module in model.modules():
            if type(module) is GELUActivation or (type(module) is nn.GELU and module.approximate == "none"):
                module.__class__ = PackedGELU
                packed += 1
            elif type(module) is nn.LayerNorm and module.elementwise_affine and module.bias is not None:
                module.__class__ = PrunedLayerNorm
                module.keep = self.keep  # type: ignore[assignment]
        bodies = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
        if not packed or not bodies:
            raise Incompatible(*self.asked, "the model has no GELU inside a body that transformers knows")
        for _, block in blocks(model):
            for name, module in block.named_modules():
                narrows = type(module) is nn.Linear and module.in_features > module.out_features
                if narrows and role(name, module) == "projection":
                    module.__class__ = ByteLinear
        make_known()
        for body in bodies:
            body.set_attn_implementation(PACKED)
        return model
