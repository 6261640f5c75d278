"""Keep frozen weights as int8 and compute in float32: quantization for inference, as personalisation meets it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from workbench.core.errors import Incompatible
from workbench.nn.int8_weights import Int8Embedding
from workbench.nn.weight_only_int8 import WeightOnlyInt8Linear, round_to_int8


@dataclass(frozen=True)
class WeightOnlyInt8:
    """A quarter of the bytes of frozen linear layers and tables. ``fake`` rounds them and keeps them in float32:
    the same numbers, none of the bytes saved."""

    fake: bool = False

    def encode(self, model: nn.Module) -> nn.Module:
        found = [
            m
            for m in model.modules()
            if type(m) in (nn.Linear, nn.Embedding) and not m.weight.requires_grad and m.weight.dtype is torch.float32
        ]
        if not found:
            raise Incompatible("quantized", "int8", "no float32 linear layer or table of the model is frozen")
        for layer in found:
            if self.fake:
                round_to_int8(layer)
            else:
                (WeightOnlyInt8Linear if isinstance(layer, nn.Linear) else Int8Embedding).adopt(layer)  # type: ignore[arg-type]
        return model
