"""Keep frozen linear weights in int8 and multiply them as integers, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.int8_kernel import missing
from workbench.nn.int8_weights import Int8Linear


@dataclass(frozen=True)
class FrozenInt8:
    """A quarter of the frozen linear weights' bytes; gradients pass through. Weights shared with a table stay."""

    def encode(self, model: nn.Module) -> nn.Module:
        reason = missing()
        if reason:
            raise Incompatible("weights", "frozen-int8", reason)
        if not to_int8(model, list(model.modules())):
            raise Incompatible("weights", "frozen-int8", "no float32 linear weight of the model is frozen")
        return model


def to_int8(model: nn.Module, modules: list[nn.Module]) -> int:
    """Quantize the frozen linear layers among ``modules``; how many there were."""
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    found = [
        m
        for m in modules
        if type(m) is nn.Linear
        and not m.weight.requires_grad
        and m.weight.dtype is torch.float32
        and id(m.weight) not in tables
    ]
    for layer in found:
        Int8Linear.adopt(layer)
    return len(found)
