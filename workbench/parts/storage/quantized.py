"""Linear weights rounded to a few bits: those that train over a float master, those that are frozen really packed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.core.errors import Incompatible
from workbench.models.structure import head
from workbench.nn.quantized_linear import Bits, FakeQuantizedLinear, PackedLinear


@dataclass(frozen=True)
class Quantized:
    """Every linear layer but the output layer and those whose weight is also a table's, inputs as well as weights."""

    bits: Bits

    def encode(self, model: nn.Module) -> nn.Module:
        output = head(model)
        kept = {id(m) for m in output[1].modules()} if output else set()
        tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
        found = [
            m for m in model.modules() if type(m) is nn.Linear and id(m) not in kept and id(m.weight) not in tables
        ]
        if not found:
            raise Incompatible("method", "zeroqat", "the model has no linear layer besides its output layer")
        for layer in found:
            (FakeQuantizedLinear if layer.weight.requires_grad else PackedLinear).adopt(layer, self.bits)
        return model
