"""Keep frozen linear weights in 4 bits: the base of QLoRA (Dettmers et al., 2023), whatever trains beside it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.narrow_weights import NF4Linear


@dataclass(frozen=True)
class NF4:
    """An eighth of the frozen linear weights' float32 bytes; weights shared with an embedding stay."""

    def encode(self, model: nn.Module) -> nn.Module:
        shared = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        found = [
            m
            for m in model.modules()
            if type(m) is nn.Linear and not m.weight.requires_grad and id(m.weight) not in shared
        ]
        if not found:
            raise Incompatible("weights", "nf4", "no linear weight of the model is frozen")
        for layer in found:
            NF4Linear.adopt(layer)
        return model
